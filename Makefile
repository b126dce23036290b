# Everything that make makes lives in .venv; remove that folder, and nothing of it is left, not even in your home.
#
#   make lab PORT=8890                        another port
#   make lab BROWSER=no                       print the address, open no browser
#   make test TESTS="tests/test_bus.py -x"    some of the tests, and any option of pytest's
#   make test PYTHON=python3.12 VENV=.venv-312

SHELL := /bin/sh
VENV ?= .venv
PYTHON ?=
PORT ?= 8888
TESTS ?=
EVERY ?= 1
LESSONS = $(sort $(wildcard notebooks/*.ipynb))

run := $(VENV)/bin/python
whole := $(VENV)/.whole

# Jupyter, IPython and matplotlib keep their files in the environment: what a home contains changes no lesson, and
# a home that is empty or cannot be written to does as well.
var := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/var
export JUPYTER_CONFIG_DIR := $(var)/jupyter/config
export JUPYTER_DATA_DIR := $(var)/jupyter/data
export JUPYTER_RUNTIME_DIR := $(var)/jupyter/runtime
export IPYTHONDIR := $(var)/ipython
export MPLCONFIGDIR := $(var)/matplotlib

.DEFAULT_GOAL := help
.PHONY: help env lab test crash chaos lint format notebooks lock clean again

help: ## print this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

# Encrypted where kernels can be: one that is not warns of it in the terminal, at every start.
lab: env ## open JupyterLab at the first lesson (PORT=8890, BROWSER=no); Ctrl+C ends it
	@exec $(run) -m jupyterlab -y --log-level=ERROR --allow-root --ServerApp.ip=127.0.0.1 --ServerApp.port=$(PORT) \
	    --ServerApp.root_dir=notebooks --LanguageServerManager.autodetect=False \
	    --KernelManager.transport_encryption=auto --LabApp.default_url=/lab/tree/00_fire_an_order.ipynb $(if $(filter no,$(BROWSER)),--no-browser)

test: env ## run every test and every cell of every lesson (TESTS="tests/test_bus.py -x")
	@exec $(run) -m pytest --nbval $(TESTS)

crash: env ## kill checkouts at every place where they write, and look at what recovers (minutes; EVERY=7: a seventh)
	@exec $(run) -m tests.support.crashing --every $(EVERY)

chaos: env ## kill workers, then RabbitMQ ten times, in mid-flow, and look at what is lost or done twice (minutes)
	@exec $(run) -m tests.support.chaos

lint: env ## ruff, and mypy --strict
	@$(run) -m ruff check .
	@$(run) -m ruff format --check .
	@$(run) -m mypy

format: env ## put the code into ruff's format
	@$(run) -m ruff check --fix .
	@$(run) -m ruff format .

notebooks: env ## execute the lessons in place and normalise them; a second run changes no byte
	@$(run) tests/support/notebooks.py --execute $(LESSONS)

env: $(whole) ## make or renew the environment in .venv

# The stamp is written last, so an environment that was interrupted half-way is made anew. It names its folder: one
# that was moved or copied along, whose Python has been removed, or that isn't of the PYTHON asked for, is as well.
made_in := $(shell $(run) -c 'print(open("$(whole)").read())' 2>/dev/null)
ifneq ($(made_in),$(CURDIR))
$(VENV)/.locked: again
endif
version := import sys; print(sys.version)
ifneq ($(if $(PYTHON),$(shell $(PYTHON) -c '$(version)' 2>/dev/null)),$(if $(PYTHON),$(shell $(run) -c '$(version)' 2>/dev/null)))
$(VENV)/.locked: again
endif

$(VENV)/.locked: requirements.lock
	@set -e; rm -f $(VENV)/.locked $(whole); \
	for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	    version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    case $$version in 3.11|3.12|3.13) break;; esac; \
	    seen="$$seen $$python is $$version;"; version=; \
	done; \
	if [ -z "$$version" ]; then \
	    echo "ecomlib needs Python 3.11, 3.12 or 3.13:$${seen:- none was found.}" \
	        "Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with Python $$version: a minute the first time, seconds from then on."; \
	$$python -c 'import ensurepip' 2>/dev/null || { echo "Python's venv module is incomplete:" \
	    "on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }; \
	$$python -m venv --clear $(VENV); \
	$(run) -m pip install -qq --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock; \
	$(run) -c 'import matplotlib.font_manager'; \
	touch $@

$(whole): $(VENV)/.locked pyproject.toml ecomlib/lab/overrides.json
	@$(run) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@printf '%s' "$(CURDIR)" > $@

systems := windows x86_64-apple-darwin aarch64-apple-darwin x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu

lock: ## pin the newest releases that pyproject.toml admits, for every Python and system
	@set -e; tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	$(or $(PYTHON),python3) -m venv "$$tools"; "$$tools/bin/python" -m pip install -qq uv; \
	"$$tools/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev \
	    --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" \
	    pyproject.toml --output-file requirements.lock; \
	for python in 3.11 3.12 3.13; do for system in $(systems); do \
	    "$$tools/bin/uv" pip install --no-config --quiet --dry-run --require-hashes --only-binary :all: \
	        --target "$$tools/none" --python-version $$python --python-platform $$system -r requirements.lock; \
	done; done

clean: ## remove the environment and what the tools left
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
