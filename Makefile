# `make run` and `make test` are all that is needed; both install what they need into .venv, once.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test lint format install install-test

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

# What was installed is remembered as a copy of pyproject.toml: while it is the same, nothing is done and no network needed.
install:
	@cmp -s pyproject.toml .venv/run.toml || { $(call pip-install,.) && cp pyproject.toml .venv/run.toml; }

install-test:
	@cmp -s pyproject.toml .venv/test.toml || { $(call pip-install,.[test]) && \
	cp pyproject.toml .venv/run.toml && cp pyproject.toml .venv/test.toml; }

pip-install = \
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...")' && \
	echo 'Installing into .venv; the first time this takes some minutes.' && \
	$(PYTHON) -m venv .venv && $(BIN)/pip install --quiet --editable '$(1)'
