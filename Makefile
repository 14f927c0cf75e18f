# make quickstart [CORPUS=DIR]   from raw text to a trained, sampled model, in ./runs/quickstart
# make test                      formatting, lint, types, tests; what .ci/run calls
# make bench                     training step against a hand-written PyTorch step (installs torch)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export JAX_COMPILATION_CACHE_DIR := $(CURDIR)/.cache/jax
# Two stamps: the quickstart does without the tools of development. Tests start many processes, each of which would
# compile what it imports where byte code is not kept (PYTHONDONTWRITEBYTECODE): hence --compile-bytecode.
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

.PHONY: quickstart test lint types unit bench clean
.DEFAULT_GOAL := help

help:
	@sed -n '1,/^$$/s/^# //p' Makefile

$(BIN)/uv:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "maxlm needs Python 3.11 or later; PYTHON=... names one"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(RUNTIME): pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[data]'
	touch $@

$(DEV): pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --editable '.[dev]'
	touch $@ $(RUNTIME)

quickstart: $(RUNTIME)
	$(BIN)/python tools/quickstart.py $(if $(CORPUS),--corpus='$(CORPUS)')

test: lint types unit

lint: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(DEV)
	$(BIN)/pyright

unit: $(DEV)
	$(BIN)/python -m pytest -n 2 --dist=loadfile

bench: $(DEV)
	$(BIN)/uv pip install --quiet --python $(BIN)/python torch==2.13.0 numpy
	$(BIN)/python tools/bench_step.py

clean:
	rm -rf $(VENV) .cache .ruff_cache .hypothesis runs
