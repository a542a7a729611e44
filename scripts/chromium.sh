#!/usr/bin/env bash
# Chromium for the tests that drive the Prefect UI. Debian and Ubuntu: installed when it is missing.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if command -v apt-get >/dev/null 2>&1; then
  sudo=""; [ "$(id -u)" -eq 0 ] || sudo="sudo"
  echo "Installing Chromium for the browser tests ..."
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq chromium fonts-liberation >/dev/null
else
  echo "The browser tests need Chromium: install it so that 'chromium' is on the PATH." >&2
  exit 1
fi
