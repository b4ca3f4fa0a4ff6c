# The project's commands; `make` alone lists them.
PYTHON ?= python3
# A file of exact versions for `make setup`, such as constraints.txt; empty: the newest that pyproject.toml allows.
CONSTRAINTS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready$(addprefix -,$(notdir $(CONSTRAINTS)))

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-gpu check docs bench wheel clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

setup: $(READY)  ## build .venv with everything that the project needs; CONSTRAINTS=constraints.txt for the tested versions

$(READY): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable ".[dev]"
	@touch $(READY)
	@echo "$(VENV) is ready: source $(BIN)/activate"

demo: setup  ## ReLU against tanh and the sigmoid on 5,000 real digits: figure and verdicts in three minutes
	$(BIN)/python src/train.py +experiment=saturating hydra.launcher.parallel=2 trainer.threads=1

test: setup  ## the tests, except those that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-slow: setup  ## all tests
	$(BIN)/python -m pytest

test-gpu: setup  ## the tests that need one or two GPUs; prints what to report
	$(BIN)/python -m pytest -v -m "gpu or two_gpu"
	@echo "Please report the lines above, those below, and the commit:"
	@git rev-parse HEAD
	@$(BIN)/python -m torch.utils.collect_env

check: setup  ## formatting, linters, types, layering
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup  ## build the documentation into site/; any warning, such as a broken link, is an error
	$(BIN)/python -m zensical build --strict --clean

bench: setup  ## run the benchmarks of docs/benchmarks.md, some minutes; PREPARED=FOLDER adds the loading of ImageNet
	THP_MEM_ALLOC_ENABLE=1 OMP_NUM_THREADS=1 $(BIN)/python benchmarks/lrn.py
	THP_MEM_ALLOC_ENABLE=1 OMP_NUM_THREADS=1 $(BIN)/python benchmarks/step.py
	THP_MEM_ALLOC_ENABLE=1 OMP_NUM_THREADS=1 $(BIN)/python benchmarks/memory_format.py
	$(BIN)/python benchmarks/columns.py 32
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/report.py
	$(if $(PREPARED),$(BIN)/python benchmarks/loading.py $(PREPARED))

wheel: setup  ## build the package into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

clean:  ## remove the environment, caches and built packages; outputs stay
	rm -rf dist site $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
