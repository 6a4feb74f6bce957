# Everything here builds its own virtual environment first: nothing is expected of the machine but Python and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: sweep test test-all check resources clean

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

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache *.egg-info
