# Two commands do everything on a fresh machine with Python 3.11+, make and a compiler:
#   make quickstart    install, search, print the front, write report.html
#   make test          install the test extra, lint, type-check, run the tests
#   make test-nni      the tests that need NNI, in an environment beside the other
#   make test-cuda     the tests that need a CUDA device
#
# And for those who change it:
#   make test-full     the slow tests too
#   make bench         measure again what docs/benchmarks.md shows (two hours; searches go on)

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
PYTEST_ARGS ?= -n 2 --dist worksteal
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
export OMP_NUM_THREADS ?= 1

.PHONY: quickstart test test-nni test-cuda test-full lint types unit install install-test install-bench bench clean help

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

$(VENV)/.installed: $(BIN)/python pyproject.toml setup.py constraints.txt
	$(INSTALL) -e ".[dashboard]"
	touch $@

$(VENV)/.installed-test: $(BIN)/python pyproject.toml setup.py constraints.txt
	$(INSTALL) -e ".[test]"
	touch $(VENV)/.installed $@

$(VENV)/.installed-bench: $(BIN)/python pyproject.toml setup.py constraints.txt
	$(INSTALL) -e ".[bench]"
	touch $(VENV)/.installed $@

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test
install-bench: $(VENV)/.installed-bench

# A second run has a name of its own (quickstart-2): what is shown is the run just made.
NAME_OF_RUN := import json, sys; print(json.load(sys.stdin)["experiment"]["name"])

quickstart: install
	@set -e; name=$$($(BIN)/netloom search examples/quickstart.yaml --json \
	  | $(BIN)/python -c '$(NAME_OF_RUN)'); \
	$(BIN)/netloom pareto $$name; \
	$(BIN)/netloom report $$name -o report.html

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The checker reads an installed copy: the folders at the root become packages only when installed.
types: install-test
	rm -rf .typecheck build
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .typecheck .
	MYPYPATH=.typecheck $(BIN)/mypy -p netloom

unit: install-test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test: lint types unit

# NNI fixes filelock and typeguard to old versions: it gets an environment of its own, which sees
# everything else of the other one.
$(VENV)-nni/.installed: $(VENV)/.installed-test
	$(PYTHON) -m venv $(VENV)-nni
	site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	beside=$$($(VENV)-nni/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	echo "import site; site.addsitedir('$$site')" > "$$beside/netloom-beside.pth"
	$(VENV)-nni/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e ".[nni]"
	touch $@

test-nni: $(VENV)-nni/.installed
	$(VENV)-nni/bin/python -c "import nni"
	$(VENV)-nni/bin/python -m pytest -m nni $(PYTEST_ARGS)

test-cuda: install-test
	$(BIN)/python -m pytest -m cuda

test-full: lint types
	$(BIN)/python -m pytest -m "full or not full" $(PYTEST_ARGS)

# NNI is one more peer where it is installed. Commit the results together with the page.
bench: install-bench
	$(BIN)/python benchmarks/spaces.py
	$(BIN)/python benchmarks/hardware.py
	$(BIN)/python benchmarks/fpga.py
	$(BIN)/python benchmarks/trace.py
	$(BIN)/python benchmarks/costs.py
	$(BIN)/python benchmarks/supernets.py
	$(BIN)/python benchmarks/cuda.py
	$(BIN)/python benchmarks/dashboard.py
	$(BIN)/python benchmarks/dashboard_browser.py
	$(BIN)/python benchmarks/one_shot.py
	$(BIN)/python benchmarks/ground_truth.py
	$(BIN)/python benchmarks/few_shot.py
	$(BIN)/python benchmarks/machinery.py
	$(BIN)/python benchmarks/search_quality.py run
	$(BIN)/python benchmarks/search_quality.py report
	$(BIN)/python benchmarks/page.py

clean:
	rm -rf $(VENV) $(VENV)-nni .typecheck build dist *.egg-info
