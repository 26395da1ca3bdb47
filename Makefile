# Everything here needs only make and a Python from 3.11 to 3.13. `make help` lists the commands.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
VENV ?= .venv
# Empty: the version in constraints.txt.
TRANSFORMERS ?=
PYTEST_ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/installed$(addprefix -,$(TRANSFORMERS)).stamp
DIST := .venv-dist
# A worker imports torch, about 0.5 GB; more of them than this gain nothing.
WORKERS := -n auto --maxprocesses 4 --dist loadfile

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-oldest quality format lint types style docs dist clean

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: $(STAMP)  ## create the environment (.venv), or bring it up to date

demo: $(STAMP)  ## train, prune and ask a small model: offline, CPU, under 3 minutes
	$(BIN)/python examples/demo.py

test: $(STAMP)  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

test-oldest:  ## run the tests with the oldest supported transformers
	$(MAKE) test VENV=.venv-oldest TRANSFORMERS=5.21.0

quality: format lint types  ## check format, lint and types

format lint types: $(STAMP)
format: ; $(BIN)/ruff format --check .
lint: ; $(BIN)/ruff check .
types: ; $(BIN)/mypy

style: $(STAMP)  ## format, and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## build the documentation into site/; warnings and broken links are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

dist: $(DIST)/installed.stamp  ## build the wheel and the source distribution, and check both
	rm -rf build dist
	$(DIST)/bin/python -m build --no-isolation
	$(DIST)/bin/twine check --strict dist/*
	$(DIST)/bin/check-wheel-contents dist/*.whl

$(DIST)/installed.stamp: constraints-dist.txt
	test -x $(DIST)/bin/python || $(PYTHON) -m venv $(DIST)
	$(DIST)/bin/python -m pip install --quiet --require-hashes -r constraints-dist.txt
	touch $@

clean:  ## remove build outputs and caches, keep the environments
	rm -rf build dist site src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*

# Renewed only when a dependency changes. torch comes first: it is by far the largest download, and a network that
# breaks off later does not lose it. setuptools is pinned with the rest, hence no build isolation.
$(STAMP): setup.cfg constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python from 3.11 to 3.13 found; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sed 's/^transformers==.*/transformers==$(or $(TRANSFORMERS),$(shell sed -n 's/^transformers==//p' constraints.txt))/' \
		constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt torch setuptools
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt --no-build-isolation --editable '.[dev]'
	rm -f $(VENV)/installed*.stamp
	touch $@
