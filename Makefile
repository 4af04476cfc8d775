# Needs Python 3.11 or newer, git and make. Everything else goes into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint bench clean lock

demo: $(STAMP)
	@$(BIN)/python -m agentcom.cli.demo $(if $(KEEP),--keep)

test: $(STAMP)
	@$(BIN)/python -m pytest

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(STAMP)
	@$(BIN)/python -m benchmarks $(ARGS)

lock:
	@sh -c 'rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv && .lock-venv/bin/pip install -q ".[dev]" && \
	  .lock-venv/bin/pip freeze --exclude agentcom | grep -v "^agentcom" > requirements.lock; rm -rf .lock-venv'

clean:
	rm -rf $(VENV) .hypothesis .mypy_cache .ruff_cache build *.egg-info

$(STAMP): requirements.lock pyproject.toml setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "AgentCom needs Python 3.11 or newer; set PYTHON=")'
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(STAMP)
