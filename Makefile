# `make demo` sets up and runs the main job; `make test` sets up and passes every test.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TOOLS  := .venv-tools

.PHONY: setup lock upgrade audit licences wheel-test browser vendor demo test slow check coverage mutation properties lint types imports docs bench clean

setup: $(VENV)/.ready

# Every version by the lock, every file by its hash.
$(VENV)/.ready: pyproject.toml requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python tools/install.py dev --project
	touch $@

$(TOOLS)/.ready: requirements/tools.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python tools/install.py tools
	touch $@

# The locks again, with as few changes as pyproject.toml asks for; `make upgrade` takes the newest of everything.
lock: $(TOOLS)/.ready
	$(TOOLS)/bin/python tools/locks.py

upgrade: $(TOOLS)/.ready
	$(TOOLS)/bin/python tools/locks.py --upgrade

# A browser for the tests of pages, where Debian's packages can be installed; without one these tests are skipped.
browser:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
	  fonts-dejavu-core >/dev/null; } || echo "No Chromium here: install it to have the pages tested in a browser."

# ONNX Runtime Web, for exports to the web, again from npm; its version stands in the script.
vendor: setup
	$(BIN)/python tools/vendor_onnxruntime_web.py

# The archives that users get, tried where nothing of this checkout is; some minutes.
wheel-test: setup
	$(BIN)/python tools/archives.py

# Known weaknesses of what is locked, by PyPI's own list; fails where the list cannot be asked.
audit: $(TOOLS)/.ready
	$(TOOLS)/bin/pip-audit --strict --disable-pip --no-deps --require-hashes \
	  -r requirements/users.txt -r requirements/dev.txt -r requirements/tools.txt

licences: $(TOOLS)/.ready
	$(TOOLS)/bin/python tools/licences.py

demo: setup
	$(BIN)/tellapart demo --force

# A file's tests share a process, and with it the classifiers that they train. One process more than two cores: many tests wait.
WORKERS ?= 3
# What failed is tried once more with nothing beside it, for many tests wait for real processes, servers and a browser:
# a test that needs this is printed as failed, passes late, and is to be mended; one that fails again fails the run.
MAIN  := -m "not alone and not slow"
ALONE := -m alone tests/test_transfer.py tests/test_tuning.py
AGAIN := --last-failed --last-failed-no-failures none
test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(MAIN) || { \
	  test $$? = 1 && echo "Once more, what failed:" && $(BIN)/python -m pytest $(AGAIN) $(MAIN); }
	$(BIN)/python -m pytest $(ALONE) || { \
	  test $$? = 1 && echo "Once more, what failed:" && $(BIN)/python -m pytest $(AGAIN) $(ALONE); }

# Tests that take long and try what others try in part: the notebook, large networks of others.
slow: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow

# Lines and branches of what isn't a page, over the tests and the processes that they start; half as long again as these.
coverage: setup
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not alone"; status=$$?; \
	  $(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage report --fail-under=95 && exit $$status

# How many small wrong changes the tests notice: 25 minutes on two cores.
mutation: setup
	$(BIN)/python benchmarks/mutation.py

# The property tests on fifty times as many examples, other ones each time.
properties: setup
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -n $(WORKERS) tests/test_properties_*.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/pyright

imports: setup
	$(BIN)/lint-imports

docs: setup
	$(BIN)/python docs/check.py

check: lint types imports docs test slow

# Figures for the README and docs/benchmarks.md. DATA is a folder of class folders.
DATA ?= ../shared/data/cats-and-dogs/training_set
bench: setup properties
	$(BIN)/python benchmarks/tutorial.py --data $(DATA)
	$(BIN)/python benchmarks/start.py

clean:
	rm -rf $(VENV) $(TOOLS) build dist .pytest_cache .ruff_cache demo .coverage .coverage.* mutants
