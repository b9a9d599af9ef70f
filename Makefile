# make demo and make test are all a newcomer needs: Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Bytecode is written when a module is first imported; compiling all of torch takes a minute.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt
# Where an environment forbids that, every process would compile what it imports again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-bars test-browser pictures bench lint base-model meta-eval method-pages site-vendor clean

demo: $(VENV)/.installed  ## the main job, end to end
	$(BIN)/mubench run --method manu --model llava-tiny

test: $(VENV)/.dev  ## the test suite, minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not bars and not browser"

test-bars: $(VENV)/.dev  ## the demo's numbers: accuracy, gold, every method (about 15 minutes)
	$(BIN)/python -m pytest -m bars --timeout 3000

test-browser: $(VENV)/.dev  ## the report and the leaderboard in headless Chromium
	$(BIN)/python -m pytest -m browser

pictures: $(VENV)/.dev  ## retake those of the docs: make pictures RUN=RUN_FOLDER (needs chromium)
	$(BIN)/python tests/browser/pictures.py $(RUN)/report.html docs/report
	$(BIN)/mubench leaderboard build
	$(BIN)/python tests/browser/pictures.py leaderboards/site/index.html docs/leaderboard

bench: $(VENV)/.installed  ## speed against plain ways, results proven equal first
	$(BIN)/mubench bench eval
	$(BIN)/mubench bench unlearn
	$(BIN)/mubench bench data

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

base-model: $(VENV)/.installed  ## remake the checkpoints that ship with the package
	$(BIN)/python -m mubench.runner.base_model --out benchmark/mubench/models/checkpoints/llava-tiny
	$(BIN)/python -m mubench.runner.base_clip --out benchmark/mubench/models/checkpoints/clip-tiny

site-vendor:  ## bundle the libraries of the leaderboard's pages again (needs npm and a network)
	cd benchmark/mubench/leaderboard/web && npm ci --ignore-scripts && npm run vendor; rm -rf node_modules

meta-eval: $(VENV)/.installed  ## which metrics may be headlines: pools of models, an hour or more
	$(BIN)/mubench meta-eval --model llava-tiny --method grad-diff --pool 5 --out docs/meta-eval.md
	mv docs/meta-eval.json benchmark/mubench/metrics/admission.json

method-pages: $(VENV)/.installed  ## docs/methods, from what the methods say of themselves
	$(BIN)/python -m mubench.report.method_page docs/methods

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mubench needs Python >= 3.11; try: make PYTHON=python3.12 demo"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing mubench into $(VENV) (torch is large: about two minutes)"
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache
