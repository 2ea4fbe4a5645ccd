# What a person types. Needs python3 (3.11 or later, with venv), make and pip; `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Debian packages that tests or benchmarks use, installed where that is possible. Without them what needs them says so.
TEST_PACKAGES := bubblewrap curl git iproute2 openssl python3 redis-server
BENCH_PACKAGES := nginx-light gcc libc6-dev

# Where it is set, every server that a test starts would compile all of its modules again: two thirds of a start.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run test soak check format bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: $(STAMP) ## install, fetch the local model, serve in the foreground
	$(BIN)/interlock local fetch
	exec $(BIN)/interlock serve

test: $(STAMP) ## every test, end to end ones too
	@$(call debian,$(TEST_PACKAGES))
	@deploy/gvisor.sh $(BIN) 2>$(VENV)/gvisor.txt || echo "could not install: runsc (gVisor): $(VENV)/gvisor.txt" >&2
	@$(BIN)/pytest --numprocesses=2 --dist=loadscope --no-loadscope-reorder --max-worker-restart=0 || \
		{ code=$$?; test -x $(BIN)/runsc || sed 's/^/no runsc: /' $(VENV)/gvisor.txt >&2; exit $$code; }

soak: $(STAMP) ## thousands of seeds and of new examples, and a storm of kills on the intake of events: hours
	INTERLOCK_TEST_SEEDS=5000 $(BIN)/pytest tests/sim
	INTERLOCK_TEST_EXAMPLES=1000 $(BIN)/pytest -n 2 -m hypothesis tests
	INTERLOCK_TEST_KILLS=20 INTERLOCK_TEST_BATCHES=500 INTERLOCK_TEST_BATCH=1000 $(BIN)/pytest tests/control/test_events.py -k kills

check: $(STAMP) ## format, lint, layers, types, habits, doctests: no server is started
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest tests/test_tidy.py
	$(BIN)/pytest --doctest-modules src/interlock/units.py src/interlock/ids.py

format: $(STAMP) ## put code into the one format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP) ## CPU time a call, beside nginx and other gateways
	@$(call debian,$(BENCH_PACKAGES))
	$(BIN)/python -m bench $(BENCH)

clean: ## remove everything that the other targets made
	rm -rf $(VENV) bench/.peers build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv module is missing (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,local,azure,bedrock,google]'
	@touch $@

# Installs those of the named packages that are missing; where it may not, says what is missing and goes on.
# RUNLEVEL=1 keeps Debian from starting the servers among them.
debian = missing=$$(for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
			apt-get update -qq </dev/null && apt-get install -qq -y --no-install-recommends $$missing </dev/null >/dev/null \
				|| echo "could not install:" $$missing >&2; \
		else echo "not installed (needs root and apt-get):" $$missing >&2; fi; \
	fi
