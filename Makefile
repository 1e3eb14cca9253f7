# Two commands for a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint docs format bench fuzz clean

$(INSTALLED): pyproject.toml constraints.txt setup.py $(shell find src -name '*.[ch]')
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[test,dask]'
	touch $@

demo: $(INSTALLED)  ## make a small data set with known answers and run every step on it
	$(BIN)/diffchrom demo

test: $(INSTALLED)  ## the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

lint: $(INSTALLED)  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED)  ## the documentation site in docs/_build/html; every code cell on its pages runs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)  ## timings, as in docs/performance.md; minutes to an hour
	for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

fuzz: $(INSTALLED)  ## corrupted input in large numbers
	DIFFCHROM_FUZZ=1000 $(BIN)/python -m pytest tests -k fuzz --timeout=3600

clean:
	rm -rf $(VENV) build dist docs/_build docs/generated src/*.egg-info
