# `make run` and `make test` are all that is needed; both install what they need into .venv, once.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test lint format lock install install-test

run: install
	@exec $(BIN)/python -m config.run

# Files are dealt out in order, one to a core: their fixtures (a live site, a browser) are then started once.
test: lint
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: install-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: install-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Writes constraints.txt, which every installation obeys: the newest releases that pyproject.toml allows. Run the tests then.
lock:
	rm -rf .venv/lock && $(PYTHON) -m venv .venv/lock && .venv/lock/bin/pip install --quiet '.[test,training]'
	.venv/lock/bin/pip freeze --exclude atelier | sed 's/+cpu$$//' > constraints.txt && rm -rf .venv/lock

# What was installed is remembered: while it is the same, nothing is done and no network needed.
install:
	@cat $(WANTED) | cmp -s - .venv/run.lock || { $(call pip-install,.) && cat $(WANTED) > .venv/run.lock; }

install-test:
	@cat $(WANTED) | cmp -s - .venv/test.lock || { $(call pip-install,.[test]) && \
	cat $(WANTED) > .venv/run.lock && cat $(WANTED) > .venv/test.lock; }

WANTED := pyproject.toml constraints.txt
pip-install = \
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...")' && \
	echo 'Installing into .venv; the first time this takes some minutes.' && \
	$(PYTHON) -m venv .venv && $(BIN)/pip install --quiet --constraint constraints.txt --editable '$(1)'
