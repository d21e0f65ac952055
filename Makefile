# Everything runs in .venv, which make creates itself. Needs nothing but make and Python >= 3.11.
# Another interpreter: make PYTHON=/path/to/python3.12 test

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$candidate; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CODE := endpoint qlog interop tests bench examples .ci

.PHONY: help demo install test contract matrix sabotage counterparts lint format types bench clean

help:
	@echo "make demo     a server and a client move 100 MB over loopback; the copy is compared"
	@echo "make test     every test, on two processes"
	@echo "make contract the interop runner's test cases on its network (root, Linux; tshark to compare; FULL=1: all)"
	@echo "make counterparts  HTTP/3 with browsers, frameworks and other stacks (more than make test needs)"
	@echo "make matrix   test cases between ourselves and other stacks, either way round (PEERS, TESTS, ARGS)"
	@echo "make sabotage our endpoint with one defect each: the case that looks for it fails, and the gate is red"
	@echo "make lint     ruff, format, import contracts, house rules"
	@echo "make types    mypy --strict"
	@echo "make format   rewrite the code the way 'make lint' wants it"
	@echo "make bench    the benchmarks of bench/README.md (takes a while)"
	@echo "make clean    remove the venv and everything generated"

# The stamps are younger than pyproject.toml while the installed set is the one it asks for.
$(VENV)/run.stamp: pyproject.toml
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { \
		echo "make: no Python >= 3.11 found; install one or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "make: '$(PYTHON) -m venv' failed; on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	$(PIP) install --editable .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml $(VENV)/run.stamp
	$(PIP) install --editable '.[dev,peers]'
	@touch $@

demo: $(VENV)/run.stamp
	@$(BIN)/python examples/demo.py

install: $(VENV)/dev.stamp

test: $(VENV)/dev.stamp
	$(BIN)/pytest --numprocesses=2 --dist=worksteal

contract: $(VENV)/dev.stamp
	CONTRACT_FULL=$(FULL) $(BIN)/pytest tests/contract --durations=0 --durations-min=1

counterparts: $(VENV)/dev.stamp
	$(BIN)/pytest tests/counterparts

# Network namespaces where the system lets us have them, else a relay. ARGS: options of `interquic interop run`.
PEERS ?= aioquic,qh3
TESTS ?= standard,unlisted,measurements
ARGS ?=
COMMA := ,

matrix: $(VENV)/run.stamp
	$(BIN)/interquic interop peers install $(subst $(COMMA), ,$(PEERS))
	$(BIN)/interquic interop run --with $(PEERS) --test $(TESTS) $(ARGS)

sabotage: $(VENV)/dev.stamp
	SABOTAGE_FULL=1 $(BIN)/pytest tests/interop/sabotage --numprocesses=2 --dist=worksteal

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/lint-imports
	$(BIN)/pytest tests/test_house.py

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

types: $(VENV)/dev.stamp
	$(BIN)/mypy

bench: $(VENV)/dev.stamp
	$(BIN)/python -m bench.run

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
