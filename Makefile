# Needs Python 3.11 or newer, git and make. Everything else goes into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test simulate lint bench docs clean lock

help: ## this list
	@echo "AgentCom. Each command sets up $(VENV) first, if it is not there."
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-13s %s\n", $$1, $$2}'
	@echo "PYTHON=python3.12 chooses the interpreter, VENV=dir where to install."

demo: $(STAMP) ## a hub, two agents and ten tasks, from nothing; KEEP=1 leaves them running
	@$(BIN)/python -m agentcom.cli.demo $(if $(KEEP),--keep)

test: $(STAMP) ## the fast suite
	@$(BIN)/python -m pytest

simulate: $(STAMP) ## the whole hub in virtual time, with faults; RUNS=1000 SEED=0
	@PYTHONPATH=tests/simulation $(BIN)/python -m hubsim --runs $(or $(RUNS),200) --seed $(or $(SEED),0)

lint: $(STAMP) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(STAMP) ## the benchmarks; ARGS="submit --depth 100"
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(STAMP) ## write the reference pages that are made from the code
	@$(BIN)/python docs/generate.py

lock: ## write requirements.lock anew from pyproject.toml
	@sh -c 'rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv && .lock-venv/bin/pip install -q ".[dev]" && \
	  .lock-venv/bin/pip freeze --exclude agentcom | grep -v "^agentcom" > requirements.lock; rm -rf .lock-venv'

clean: ## remove the environment and the tools' caches
	rm -rf $(VENV) .hypothesis .mypy_cache .ruff_cache build *.egg-info

$(STAMP): requirements.lock pyproject.toml setup.cfg
	@command -v $(PYTHON) >/dev/null || \
	  { echo "AgentCom needs Python 3.11 or newer; '$(PYTHON)' was not found (choose one with PYTHON=...)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
	  "AgentCom needs Python 3.11 or newer; $(PYTHON) is %d.%d (choose another with PYTHON=...)" % v[:2])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@command -v git >/dev/null || { echo "AgentCom needs git" >&2; exit 1; }
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(STAMP)
