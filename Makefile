# Sets up its own virtual environment on first use; needs Python 3.11+ and make.

PYTHON ?= python3
BIN := .venv/bin
BOTO3_PYTHON := .venv-boto3/bin/python
SETUP := .venv/.ready
SETUP_BOTO3 := .venv-boto3/.ready

.PHONY: help quickstart test test-slow cross-check lint format clean

help:  ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: $(SETUP)  ## Dispatch 2,000 records through the embedded emulator
	@rm -rf quickstart && mkdir quickstart
	@$(BIN)/python -m dispatcher.samples.records --count 2000 --out quickstart/records.jsonl
	$(BIN)/dispatcher run configs/quickstart.yaml
	@echo
	@echo "The first results (quickstart/results.jsonl):"
	@head -n 3 quickstart/results.jsonl | cut -c 1-160

test: $(SETUP) $(SETUP_BOTO3)  ## Run the tests: within seven minutes on two cores
	BOTO3_PYTHON=$(BOTO3_PYTHON) $(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not slow"

test-slow: $(SETUP) $(SETUP_BOTO3)  ## Run the slow tests: long harnesses, benchmarks, all commands of the documents
	BOTO3_PYTHON=$(BOTO3_PYTHON) $(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m slow

cross-check: $(SETUP)  ## Run through queues of moto and fauxqs (needs Node 22 and the npm registry)
	$(BIN)/python -m tests.contracts.cross_check moto fauxqs

lint: $(SETUP)  ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(SETUP)  ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## Remove environments and what the quick start made
	rm -rf .venv .venv-boto3 quickstart

$(SETUP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dispatcher needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Current boto3, which aioboto3's pinned botocore cannot share an environment with: the emulator
# must hold against both.
$(SETUP_BOTO3): pyproject.toml
	$(PYTHON) -m venv .venv-boto3
	$(BOTO3_PYTHON) -m pip install --quiet --disable-pip-version-check boto3
	@touch $@
