# Two commands for a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-oldest test-newest test-uncompiled lint docs format bench fuzz clean

$(INSTALLED): pyproject.toml constraints.txt setup.py $(shell find src -name '*.[ch]')
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[test,dask]'
	touch $@

demo: $(INSTALLED)  ## make a small data set with known answers and run every step on it
	$(BIN)/diffchrom demo

test: $(INSTALLED)  ## the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

# The suite against other releases, each in a new environment, on what is installed there. Elsewhere than in PyTorch's own
# index, torch for Linux is a CUDA build of several GB, but for this release; `TORCH=` lifts the pin.
TORCH ?= torch==2.13.0
EXTRAS := test,dask,fast
# pyparsing 3.3 deprecates names that matplotlib has before 3.10.7.
test-oldest: PINS = packaging/oldest.py $(TORCH) pyparsing==3.2.5  ## the suite with every lower bound of pyproject.toml at once
test-oldest: EXTRAS := $(EXTRAS),anndata
test-newest: PINS = -c 'print("$(TORCH)")'  ## the suite with the newest release of everything
test-uncompiled: PINS = -c 'print(open("constraints.txt").read())'  ## the suite without the C kernels
test-uncompiled: export CC := /nonexistent/cc
test-oldest test-newest test-uncompiled: test-%:
	$(PYTHON) -m venv --clear $(VENV)-$*
	$(PYTHON) $(PINS) > $(VENV)-$*/constraints.txt
	rm -rf build  # kernels of another compiler would be taken from there
	$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		-c $(VENV)-$*/constraints.txt '.[$(EXTRAS)]'
	OMP_NUM_THREADS=1 $(VENV)-$*/bin/python -m pytest -n auto --dist loadfile $(TESTS)

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
	rm -rf $(VENV) $(VENV)-* build dist docs/_build docs/generated src/*.egg-info
