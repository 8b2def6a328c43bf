# The light environment (no torch) is enough to index, score and demonstrate with the bundled
# network; the full one adds torch, timm and the development tools. Both are pinned by
# requirements.lock, made anew by `make lock`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test lint check format lock screenshots page-times compare-env compare-lock clean

.venv/light: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vecspect needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --quiet --constraint requirements.lock --editable '.[ui]'
	touch $@

.venv/full: .venv/light
	$(PIP) install --quiet --upgrade 'pip>=25.1'
	$(PIP) install --quiet --constraint requirements.lock --editable '.[torch,int8,ui]' --group dev
	touch $@

demo: .venv/light
	$(BIN)/vecspect demo

test: .venv/full
	$(BIN)/python -m pytest

lint: .venv/full
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

# Both drive the app in headless Chromium.
screenshots: .venv/full
	$(BIN)/python -m tests.ui.app.screenshots ui/screenshots

page-times: .venv/full
	$(BIN)/python -m tests.ui.app.page_times

format: .venv/full
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv-lock/bin/python -m pip install --quiet --editable '.[torch,int8,ui]' --group dev
	.venv-lock/bin/python -m pip freeze --exclude-editable --exclude vecspect > requirements.lock
	rm -rf .venv-lock

# The libraries that `vecspect speed --against` measures, in an environment of their own.
COMPARED := anomalib==2.7.0 faiss-cpu onnx onnxscript openvino

compare-env: .venv-compare/done

.venv-compare/done: requirements-compare.lock
	$(PYTHON) -m venv .venv-compare
	.venv-compare/bin/python -m pip --disable-pip-version-check install --quiet --constraint requirements-compare.lock $(COMPARED)
	touch $@

compare-lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet $(COMPARED)
	.venv-lock/bin/python -m pip freeze > requirements-compare.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-compare .venv-lock qdrant_data demo_out benchmark_out ui_data
