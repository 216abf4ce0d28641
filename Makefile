# `make demo` and `make test` need Python >= 3.10 and nothing else; the first call makes .venv.
#   make -B setup RUNTIMES=1    # also ONNX Runtime, OpenVINO, ncnn and MNN, for export.py and compare.py
#   make test PYTHON=python3.12 TORCH_INDEX=https://download.pytorch.org/whl/cpu PIP_ARGS="..."
# (what these mean: .ci/setup)

PYTHON ?= python3
export PYTHON TORCH_INDEX PIP_ARGS RUNTIMES

# The environment; .ci/run names another (a variable of the command line goes before this).
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help setup demo test lint zoo clean
help:
	@echo "make demo   train, slim, finetune and run a small detector; ends with a table and a picture"
	@echo "make test   the default test suite"
	@echo "make lint   ruff and mypy, then the lines of each room and what a change adds"
	@echo "make zoo    write cfg/*.cfg again from utils/zoo"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/setup .ci/requirements.py
	.ci/setup $(VENV)
	@touch $@

# Threads that wait do not spin: on cores that something else uses they would take eight times as long
# (docs/results.md, "Sharing a machine"); alone it costs a quarter.
demo: $(STAMP)
	OMP_WAIT_POLICY=passive $(RUN) demo.py

# make's own exit status says only that something failed: with STATUS=FILE pytest's goes there.
# A process a core: most tests are processes of one thread, or start one.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --maxprocesses 4 --dist worksteal$(if $(STATUS),; echo $$? >"$(STATUS)")

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) .ci/rooms.py

zoo: $(STAMP)
	$(RUN) -m utils.zoo --output cfg

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
