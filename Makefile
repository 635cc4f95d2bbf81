# Every target is one or two commands; `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
EXAMPLE := config/examples/edge.toml

.PHONY: help setup compile pure run demo test check format docs bench soak clean

# What the compiled modules are made of is tested as Python, too; everything is tested with them compiled.
TWICE := tests/radius tests/daemon/playbook $(addprefix tests/ipam/test_,allocator.py blocks_machine.py book.py \
	book_machine.py history.py model.py) \
	$(addprefix tests/daemon/test_,access.py accounting.py leasing.py policy.py policy_logins.py reconcile.py sessions.py \
	session_moves.py simultaneous.py standing.py storm.py usage.py)

HOT := $(shell sed -n 's/^    "\(.*\.py\)",/\1/p' setup.py)

help:
	@echo "make run     set up, start the daemon on loopback with a sample provider"
	@echo "make demo    the same without a terminal: logs in, accounts, explains, stops"
	@echo "make test    everything: style, types, imports, all tests against real peers"
	@echo "make check   style, types and imports only, in seconds"
	@echo "make bench   side by side with FreeRADIUS; minutes"
	@echo "make soak    random histories, crashes and faults of replication and outbox, many more of them"
	@echo "make docs    write the generated pages again"
	@echo "make format  lay the code out"

setup: .venv/.stamp

.venv/.stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable '.[capture,fast]' --config-settings editable_mode=compat --group dev
	touch $@

# The request path and the address book as machine code, where there is a C compiler; the Python files run otherwise.
compile: .venv/.compiled

.venv/.compiled: .venv/.stamp setup.py $(HOT)
	@if command -v cc > /dev/null; then \
		echo "compiling the request path (a minute, once)"; \
		DOTMAC_EDGE_COMPILE=1 $(BIN)/python setup.py --quiet build_ext --inplace > build.log 2>&1 || { cat build.log; exit 1; }; \
	else echo "no C compiler: the request path runs as Python"; fi
	@touch $@

pure:
	@find radius ipam daemon . -maxdepth 2 -name '*.so' -not -path './.venv/*' -delete
	@rm -rf build .venv/.compiled

run: compile
	$(BIN)/dotmac-edge --config $(EXAMPLE) run

demo: compile
	scripts/demo.sh

test: setup check
	scripts/test-packages.sh
	$(MAKE) --no-print-directory pure
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(TWICE)
	$(MAKE) --no-print-directory compile
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=30

soak: setup
	DOTMAC_EDGE_THOROUGH=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile tests/daemon/feed tests/daemon/outbox tests/daemon/sync_feeds

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup
	$(BIN)/python -m config.reference > docs/config.md
	$(BIN)/python -m daemon.api.document > docs/openapi.json

bench: compile
	$(BIN)/python bench/run.py --write
	$(BIN)/python bench/storm.py --write
	$(BIN)/python bench/leases.py --write
	$(BIN)/python bench/history.py --write
	$(BIN)/python bench/outbox.py --write

clean:
	rm -rf .venv build build.log var
	find . -name '*.so' -delete
