# Every verb makes .venv first when it is missing or older than what defines it, so `make bench` is enough on
# a fresh machine (Python 3.11 or newer, make, a package index). CI runs these same verbs.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup bench test test-all test-shuffled coverage lint types format docs wheel ci clean

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything the suite needs

# torch goes first and alone, so that no other requirement can pull in a second build of it.
$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt torch
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[all,dev]'
	@touch $@

bench: $(READY) ## run the benchmark sweep and print its table (ARGS="..." for options)
	$(BIN)/lambo bench $(ARGS)

# One BLAS thread a process: the workers share the cores already.
test: $(READY) ## run the tests (ARGS="..." for pytest options)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -q $(ARGS)

test-all: $(READY) ## run the tests, the slow ones too
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -q -m "slow or not slow" $(ARGS)

test-shuffled: $(READY) ## run the tests in one process and in random order
	OMP_NUM_THREADS=1 $(BIN)/pytest -q --random-order $(ARGS)

coverage: $(READY) ## run the tests and show which lines they leave out
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -q --cov --cov-report=term-missing:skip-covered $(ARGS)

lint: $(READY) ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## check types
	$(BIN)/mypy

format: $(READY) ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## build the documentation into docs/_build
	$(BIN)/sphinx-build -W -q -b html docs docs/_build

# A build/ left over would put modules that are gone into the wheel.
wheel: $(READY) ## build the wheel into dist/ (URL=https://... [REF=main] for the links of its page)
	rm -rf build dist
	LAMBO_URL="$(URL)" LAMBO_REF="$(REF)" $(BIN)/python -m build --wheel

ci: ## everything that continuous integration runs
	.ci/run

clean: ## remove .venv and what the tools left
	rm -rf .venv build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
