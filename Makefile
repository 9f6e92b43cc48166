# make run      set up and serve
# make test     set up and run all tests
# make check    check style, types and imports
# make bench    measure
# make test-home-assistant    set up Home Assistant in environments of their own, and test its integration in them
# make chaos    kill, hang and fill the stores under load, jump clocks, restart APIs behind nginx, for up to ten minutes; damage 200 files; send 50,000 made-up requests; ask a real Apache Spark
# ARGS passes arguments on: make test ARGS="-k export", make bench ARGS="upload --quick".
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
export HOST PORT

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: run test test-home-assistant chaos check bench clean

run: $(VENV)/.run
	exec $(BIN)/python -m gunicorn -c config/gunicorn.py wsgi:app

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 4 --dist loadscope --durations 10 $(ARGS)

test-home-assistant: $(VENV)/.run
	integrations/home_assistant/test.sh $(ARGS)

chaos: $(VENV)/.test
	CHAOS_ROUNDS=$${CHAOS_ROUNDS:-50} CHAOS_DAMAGES=$${CHAOS_DAMAGES:-200} CHAOS_REQUESTS=$${CHAOS_REQUESTS:-50000} \
		$(BIN)/python -m pytest tests/chaos tests/fuzz/test_servers.py tests/spark $(ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info

# Each finished step leaves a mark file. An interrupted step runs again; a finished step needs no package index.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo 'This Python cannot make virtual environments; on Debian: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.run: setup.cfg pyproject.toml $(VENV)/.made
	$(INSTALL) --editable .
	@touch $@

# This installs what `make run` needs too. A second installation after the first takes the resolver twice as long.
$(VENV)/.test: setup.cfg pyproject.toml $(VENV)/.made
	$(INSTALL) --editable '.[test]'
	@touch $(VENV)/.run $@

$(VENV)/.bench: $(VENV)/.run
	$(INSTALL) --editable '.[bench]'
	@touch $@
