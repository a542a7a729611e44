# A person and CI call the same targets. Every one of them prepares .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.darkroom-setup

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help setup run up check test test-long matrix matrix-short soak soak-short lint bench bench-full clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## a virtual environment in .venv with the pinned versions

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned versions into $(VENV) (a minute or two, once) ..."
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: setup  ## the main job end to end, on the embedded WebUI or WEBUI_URL=http://host:7860
	@$(if $(WEBUI_URL),DARKROOM_WEBUI_URL='$(WEBUI_URL)') $(BIN)/darkroom run $(or $(JOB),jobs/castle.yaml) --start

up: setup  ## Prefect, the WebUI, the worker and the queue's API in the foreground; Ctrl-C stops all
	@$(if $(WEBUI_URL),DARKROOM_WEBUI_URL='$(WEBUI_URL)') $(BIN)/darkroom up

check: setup  ## is everything there that a job needs?
	@$(BIN)/darkroom check

lint: setup  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test: setup lint  ## every test, but the long ones
	@scripts/chromium.sh
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-long: setup  ## the long tests: what waits a minute, or shows again what a shorter test shows
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests -m long --matrix one

matrix: setup  ## each fault at each stage, 1,000 honest pictures; writes docs/night.md and docs/true-pictures.md
	@$(BIN)/python -m pytest tests/night tests/pictures --matrix all --record

matrix-short: setup  ## each fault at one stage, about five minutes
	@$(BIN)/python -m pytest tests/night --matrix one

soak: setup  ## 500 jobs, a fault for one in five (SEED=1), an hour at most; writes docs/night.md
	@$(BIN)/python -m tests.night.soak --jobs 500 --seed $(or $(SEED),1) --record

soak-short: setup  ## the same with 16 jobs, within two minutes
	@$(BIN)/python -m tests.night.soak --jobs 16 --seed $(or $(SEED),1) --minutes 2

bench: setup  ## the figures, within five minutes; writes bench/results.json
	@$(BIN)/python -m bench

bench-full: setup  ## every figure, about 40 minutes
	@$(BIN)/python -m bench --full

clean:  ## the local state (Prefect's database, stored inputs, logs), not the gallery
	rm -rf .darkroom
