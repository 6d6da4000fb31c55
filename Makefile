# make demo       train on the embedded WordNet graph and print the table
# make test       style, types and tests with coverage
# make test-slow  the tests that take minutes
# make bench      every benchmark, one table each
# A virtual environment is made in .venv first; PYTHON chooses the interpreter, 3.10 or later.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# benchmarks/gpu.py needs a CUDA device and is run by itself.
BENCHMARKS := $(filter-out benchmarks/graphs.py benchmarks/timing.py benchmarks/gpu.py, $(wildcard benchmarks/*.py))

.PHONY: demo test test-slow bench clean

demo: $(VENV)/.full
	$(BIN)/pygas train

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --cov

test-slow: $(VENV)/.dev
	$(BIN)/pytest -m slow

bench: $(VENV)/.full
	set -e; for file in $(BENCHMARKS); do echo "== $$file"; $(BIN)/python $$file; done

clean:
	rm -rf $(VENV) build dist *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or later is needed (got $$($(PYTHON) --version 2>&1)). Pass PYTHON=python3.11 or the like."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.%: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$*]"
	@touch $@
