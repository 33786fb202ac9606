# Needs Python 3.10 or later; everything else goes into .venv.
.DELETE_ON_ERROR:
.PHONY: help test lint format types types-training conformance bench demo build clean

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_ARGS ?=

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/  -/'

# The C source is a prerequisite because an editable install builds it.
$(STAMP): pyproject.toml src/lowbitc/_version.py $(wildcard targets/native/*.[ch] compiler/*/*.c training/*.c)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo 'lowbitc needs Python 3.10 or later: make PYTHON=python3.12'; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=24'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

lint: $(STAMP) ## ruff, its formatter, and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(STAMP) ## sort imports and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## mypy and pyright, both strict
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

types-training: $(STAMP) ## types of training/, where PyTorch is installed (pip install -e '.[train]')
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python training tests/training

conformance: $(STAMP) ## ONNX's own backend tests, through importer and exporter
	$(BIN)/python -m pytest -m conformance $(PYTEST_ARGS)

bench: $(STAMP) ## SAWB coefficients, and speed against float ONNX Runtime
	$(BIN)/python benchmarks/derive_sawb.py --check
	$(BIN)/python benchmarks/speed.py

demo: $(STAMP) ## compile, simulate and gate the network that comes with the package
	$(BIN)/lowbitc demo

build: $(STAMP) ## wheel and source distribution, into dist/
	$(BIN)/python -m build

clean: ## remove what the targets above made
	rm -rf $(VENV) build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf .import_linter_cache src/lowbitc.egg-info lowbitc.egg-info
