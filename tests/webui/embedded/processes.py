"""An embedded WebUI in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def start_process(folder: Path, *flags: str) -> tuple[subprocess.Popen[str], str]:
    """Start one on a free port; the process and its URL, which its output tells. The caller ends it."""
    command = [sys.executable, "-m", "webui.embedded", "--port", "0", "--folder", str(folder), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if "http://" in line:
            return process, "http://" + line.split("http://")[1].split()[0].rstrip("/.,")
    raise AssertionError(f"the server ended with {process.wait()}")
