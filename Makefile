# Two commands: `make demo` and `make test`. Each sets up its own virtual environment, with uv where there is one.
PYTHON ?= python3
TORCH := torch==2.13.0
PARALLEL := -n auto --maxprocesses 4 --dist loadfile
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.PHONY: demo test test-all lint bounds wheels qgis train figures reference docs clean help

help:
	@echo "make demo      render a pair, find what changed, score it (no torch; a minute or two)"
	@echo "make test      all tests but the slow ones"
	@echo "make test-all  all tests"
	@echo "make lint      ruff, mypy (Python 3.10 and 3.12), import-linter, shellcheck"
	@echo "make bounds    the lowest stated versions of the dependencies work, and the newest"
	@echo "make wheels    own wheels for Linux, Windows and macOS; every runtime dependency has one for Linux too"
	@echo "make qgis      the QGIS plugin as a ZIP file, in build/qgis"
	@echo "make train DATA=FOLDER OUT=FOLDER  train the bundled model as it was trained (hours)"
	@echo "make figures   write the figures of README and docs from benchmarks/results/"
	@echo "make reference write docs/reference.md from the descriptions of the options"
	@echo "make docs      the documentation as a site, in build/site"
	@echo "make clean     remove environments and results"

demo: .venv-demo/.ready
	@.venv-demo/bin/schanger-edge demo -o demo

test: .venv/.ready
	@.venv/bin/python -m pytest $(PARALLEL) -m "not slow"
	@echo "all passed; the slow ones run with: make test-all"

test-all: .venv/.ready
	@.venv/bin/python -m pytest $(PARALLEL)

lint: .venv/.ready
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy --python-version 3.10
	@.venv/bin/mypy --python-version 3.12
	@.venv/bin/lint-imports
	@.venv/bin/shellcheck -x jetson/*.sh .ci/run .ci/bounds

bounds: .venv/.ready
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .ci/bounds

wheels: .venv/.ready
	@PATH="$(CURDIR)/.venv/bin:$$PATH" jetson/wheels.sh
	@for target in x86_64-linux aarch64-linux x86_64-windows x86_64-macos aarch64-macos; do \
	  SCHANGER_EDGE_TARGET=$$target .venv/bin/uv build --quiet --wheel --out-dir dist . && echo "dist: wheel for $$target"; \
	done

qgis:
	@$(PYTHON) qgis/build.py

train: .venv/.ready
	@PYTHON="$(CURDIR)/.venv/bin/python" benchmarks/train.sh $${DATA:?name the folder of the data: make train DATA=... OUT=...} $${OUT:?name a folder for the runs}

figures:
	@$(PYTHON) benchmarks/figures.py

reference: .venv/.ready
	@.venv/bin/python docs/reference.py

docs: .venv-docs/.ready
	@.venv-docs/bin/mkdocs build --site-dir build/site
	@echo "open build/site/index.html"

clean:
	rm -rf .venv .venv-demo .venv-docs demo build/site

.venv-demo/.ready: pyproject.toml
	@echo "setting up .venv-demo (the runtime, about 600 MB on disk)"
	@$(call make_venv,.venv-demo)
	@$(call install,.venv-demo,-e .)
	@touch $@

# The site is built from the sources alone, so that neither the runtime nor torch is needed.
.venv-docs/.ready: Makefile
	@echo "setting up .venv-docs (MkDocs)"
	@$(call make_venv,.venv-docs)
	@$(call install,.venv-docs,"mkdocs-material>=9.5" "mkdocstrings[python]>=0.26" "mkdocs-jupyter>=0.25" "ruff>=0.6")
	@touch $@

.venv/.ready: pyproject.toml $(wildcard native/*.py native/src/*)
	@echo "setting up .venv (runtime, factory with $(TORCH), linters)"
	@$(call make_venv,.venv)
	@$(call install_torch,.venv)
	@$(call install,.venv,-e ".[dev]")
	@touch $@

define make_venv
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "Python 3.10 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 2; }; \
	if command -v uv >/dev/null; then uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(1); \
	else $(PYTHON) -m venv $(1); fi
endef

define install
	echo "installing packages"; \
	if command -v uv >/dev/null; then uv pip install --python $(1)/bin/python $(2); \
	else $(1)/bin/python -m pip install --disable-pip-version-check $(2) 2>&1 \
	  | sed -n -E '/^(Collecting|Building|Installing|Successfully|ERROR|error)/s/^(.{110}).*/\1 .../; /^(Coll|Buil|Inst|Succ|ERR|err)/p'; fi
endef

# The tests need no GPU: uv can take torch's CPU build; pip takes whatever build it finds.
define install_torch
	echo "installing $(TORCH)"; \
	if command -v uv >/dev/null; then \
	  uv pip install --python $(1)/bin/python --torch-backend cpu $(TORCH) \
	  || uv pip install --python $(1)/bin/python $(TORCH); \
	else $(1)/bin/python -m pip install --disable-pip-version-check -q $(TORCH); fi
endef
