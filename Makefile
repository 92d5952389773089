# `make demo` sets up and runs the main job; `make test` sets up and passes every test.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: setup browser vendor demo test check lint types imports docs bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

# A browser for the tests of pages, where Debian's packages can be installed; without one these tests are skipped.
browser:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
	  fonts-dejavu-core >/dev/null; } || echo "No Chromium here: install it to have the pages tested in a browser."

# ONNX Runtime Web, for exports to the web, again from npm; its version stands in the script.
vendor: setup
	$(BIN)/python tools/vendor_onnxruntime_web.py

demo: setup
	$(BIN)/tellapart demo --force

# A file's tests share a process, and with it the classifiers that they train. One process more than two cores: many tests wait.
WORKERS ?= 3
test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not alone"
	$(BIN)/python -m pytest -m alone tests/test_transfer.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/pyright

imports: setup
	$(BIN)/lint-imports

docs: setup
	$(BIN)/python docs/check.py

check: lint types imports docs test

# Figures for the README and docs/benchmarks.md. DATA is a folder of class folders.
DATA ?= ../shared/data/cats-and-dogs/training_set
bench: setup
	$(BIN)/python benchmarks/tutorial.py --data $(DATA)
	$(BIN)/python benchmarks/start.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache demo
