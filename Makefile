# Every target is one or two commands; `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
EXAMPLE := config/examples/edge.toml

.PHONY: help setup run demo test check format docs bench clean

help:
	@echo "make run     set up, start the daemon on loopback with a sample provider"
	@echo "make demo    the same without a terminal: logs in, accounts, explains, stops"
	@echo "make test    everything: style, types, imports, all tests against real peers"
	@echo "make check   style, types and imports only, in seconds"
	@echo "make bench   side by side with FreeRADIUS; minutes"
	@echo "make docs    write the generated pages again"
	@echo "make format  lay the code out"

setup: .venv/.stamp

.venv/.stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable '.[capture,fast]' --group dev
	touch $@

run: setup
	$(BIN)/dotmac-edge --config $(EXAMPLE) run

demo: setup
	scripts/demo.sh

test: setup check
	scripts/test-packages.sh
	$(BIN)/python -m pytest -q

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

bench: setup
	$(BIN)/python bench/run.py --write

clean:
	rm -rf .venv build var
