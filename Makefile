# `make help` lists the tasks. Every task sets up what it needs, once.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
KEDRO := $(BIN)/kedro

PIPELINE ?=
ENV ?=
PARAMS ?=
RUN_ARGS = $(if $(PIPELINE),--pipeline=$(PIPELINE)) $(if $(ENV),--env=$(ENV)) $(if $(PARAMS),--params="$(PARAMS)")

export DO_NOT_TRACK = 1
# Threads that wait should sleep: spinning ones slow a shared machine down.
export OMP_WAIT_POLICY = PASSIVE

# Many tests start processes of their own, which need not compile the package each.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help install run test quick lint viz mlflow notebook bench bench-gpu clean

help: ## list the tasks
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  Pass PIPELINE=, ENV= and PARAMS= to make run, for instance:"
	@echo "  make run PIPELINE=rare_vae ENV=cohort PARAMS=\"cohort_dir=DIR,label=COLUMN\""

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "synthome needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# A stamp is newer than pyproject.toml once its extra is installed, so that nothing happens twice.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing synthome (a few minutes, once)"
	@$(PIP) install -e .
	@touch $@

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	@echo "Installing synthome with its extra '$*' (a few minutes, once)"
	@$(PIP) install -e ".[$*]"
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed ## create .venv and install

run: $(VENV)/.installed ## kedro run; PIPELINE=, ENV=, PARAMS= pass through
	@$(KEDRO) run $(RUN_ARGS)

test: $(VENV)/.installed-test ## the whole test suite
	@$(PYTEST)

quick: $(VENV)/.installed-test ## the tests that are neither slow, nor on a GPU, nor on the network
	@$(PYTEST) -m "not slow and not gpu and not network"

lint: $(VENV)/.installed-test ## ruff, import contracts, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

viz: $(VENV)/.installed ## the lineage, in a browser
	@$(KEDRO) viz run

mlflow: $(VENV)/.installed ## the tracked runs, in a browser
	@echo "Runs: http://127.0.0.1:5000/#/experiments (Ctrl-C stops the server)"
	@$(BIN)/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/mlflow.db --port 5000

notebook: $(VENV)/.installed-notebook ## JupyterLab with the project's catalog loaded
	@$(KEDRO) jupyter lab

bench: $(VENV)/.installed-test ## every benchmark; results in benchmarks/results
	@$(BIN)/python -m benchmarks

bench-gpu: $(VENV)/.installed-test ## the benchmarks that need a GPU
	@$(BIN)/python -m benchmarks --gpu

clean: ## remove what runs produced; never .venv, never your own data
	@find data -type f ! -name .gitkeep ! -path 'data/01_raw/*' -delete
	@find data -mindepth 2 -type d -empty -delete
