# Everything here builds its own virtual environment first: nothing is expected of the machine but Python and make.
PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= $(shell getconf _NPROCESSORS_ONLN)
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: sweep test test-all check static resources clean

# The sweep of the README. On a machine without a GPU it picks small shapes, says so, and ends within five minutes.
sweep: $(READY)
	$(BIN)/bench sweep --kernels 3,5,7,11 --ratio 1/8

test: $(READY)
	$(BIN)/python -m pytest -m "not slow and not interpreter and not gpu"
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -m "interpreter and not slow"

test-all: $(READY)
	$(BIN)/python -m pytest -m "not interpreter"
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -m "interpreter"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

# Registers, spills and traffic of our kernels against the committed baseline, no GPU needed: what has changed since is
# compiled and traced again, and a sample of the rest. A changed kernel is renewed in the baseline by
# python -m benchbench.access.static write.
static: $(READY)
	$(BIN)/bench check --static --jobs $(JOBS)

# The same for every kernel, shape and architecture, nothing taken from the baseline: an hour and more on two cores.
resources: $(READY)
	$(BIN)/bench check --static --all --jobs $(JOBS)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache *.egg-info
