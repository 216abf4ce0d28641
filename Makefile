# `make demo` and `make test` need Python >= 3.10 and nothing else; the first call makes .venv.
#   make test PYTHON=python3.12 TORCH_INDEX=https://download.pytorch.org/whl/cpu PIP_ARGS="..."
# (what these mean: .ci/setup)

PYTHON ?= python3
export PYTHON TORCH_INDEX PIP_ARGS

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help setup demo test lint zoo clean
help:
	@echo "make demo   train, slim, finetune and run a small detector; ends with a table and a picture"
	@echo "make test   the default test suite"
	@echo "make lint   ruff and mypy"
	@echo "make zoo    write cfg/*.cfg again from utils/zoo"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/setup .ci/requirements.py
	.ci/setup $(VENV)
	@touch $@

# Threads that wait do not spin: on cores that something else uses they would take eight times as long
# (docs/results.md, "Sharing a machine"); alone it costs a quarter.
demo: $(STAMP)
	OMP_WAIT_POLICY=passive $(RUN) demo.py

test: $(STAMP)
	$(RUN) -m pytest

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

zoo: $(STAMP)
	$(RUN) -m utils.zoo --output cfg

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
