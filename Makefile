# Everything that make makes lives in .venv; remove that folder, and nothing of it is left, not even in your home.
#
#   make lab PORT=8890                        another port
#   make lab BROWSER=no                       print the address, open no browser
#   make test TESTS="tests/test_bus.py -x"    some of the tests, and any option of pytest's
#   make test PYTHON=python3.12 VENV=.venv-312
#   make bench BENCH="--only dispatch"        one area of the comparison

SHELL := /bin/sh
VENV ?= .venv
PYTHON ?=
PORT ?= 8888
TESTS ?=
BENCH ?=
EVERY ?= 1
LESSONS = $(sort $(wildcard notebooks/*.ipynb))

run := $(VENV)/bin/python
whole := $(VENV)/.whole
tools := $(VENV)/.tools
peers := $(VENV)/.peers

# Jupyter, IPython and matplotlib keep their files in the environment: what a home contains changes no lesson, and
# a home that is empty or cannot be written to does as well.
var := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/var
export JUPYTER_CONFIG_DIR := $(var)/jupyter/config
export JUPYTER_DATA_DIR := $(var)/jupyter/data
export JUPYTER_RUNTIME_DIR := $(var)/jupyter/runtime
export IPYTHONDIR := $(var)/ipython
export MPLCONFIGDIR := $(var)/matplotlib
export UV_CACHE_DIR := $(var)/uv
# What is installed is compiled when it is first imported, and that is to be kept.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help env tools peers lab test crash chaos bench lint format notebooks lock clean again
.NOTPARALLEL:

help: ## print this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

# Encrypted where kernels can be: one that is not warns of it in the terminal, at every start.
lab: env ## open JupyterLab at the first lesson (PORT=8890, BROWSER=no); Ctrl+C ends it
	@exec $(run) -m jupyterlab -y --log-level=ERROR --allow-root --ServerApp.ip=127.0.0.1 --ServerApp.port=$(PORT) \
	    --ServerApp.root_dir=notebooks --LanguageServerManager.autodetect=False \
	    --KernelManager.transport_encryption=auto --LabApp.default_url=/lab/tree/00_fire_an_order.ipynb $(if $(filter no,$(BROWSER)),--no-browser)

test: tools ## run every test and every cell of every lesson (TESTS="tests/test_bus.py -x")
	@exec $(run) -m pytest --nbval $(TESTS)

crash: tools ## kill checkouts at every place where they write, and look at what recovers (minutes; EVERY=7: a seventh)
	@exec $(run) -m tests.support.crashing --every $(EVERY)

chaos: tools ## kill workers, then RabbitMQ ten times, in mid-flow, and look at what is lost or done twice (minutes)
	@exec $(run) -m tests.support.chaos

bench: tools peers ## how fast each part is beside its peers and the limit (ten minutes; BENCH="--only dispatch")
	@exec $(run) -m benchmarks $(BENCH)

lint: tools peers ## ruff, and mypy --strict, over all that there is
	@$(run) -m ruff check .
	@$(run) -m ruff format --check .
	@$(run) -m mypy

format: tools ## put the code into ruff's format
	@$(run) -m ruff check --fix .
	@$(run) -m ruff format .

notebooks: tools ## execute the lessons in place and normalise them; a second run changes no byte
	@$(run) tests/support/notebooks.py --execute $(LESSONS)

env: $(whole) ## make or renew the environment in .venv: what the lessons need

tools: env $(tools) ## and what the tests need

peers: env $(peers) ## and what make bench compares with

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
	echo "Making $(VENV) with Python $$version: seconds where the network is quick."; \
	$$python -m venv --clear --without-pip $(VENV); \
	pip="$$python -m pip --python $(run)"; \
	$$python -c 'import pip' 2>/dev/null || { pip="$(run) -m pip"; $(run) -m ensurepip >/dev/null 2>&1; } || { \
	    echo "This Python has no pip: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }; \
	sed -n '/^uv==/,/[^\]$$/p' requirements.lock > $(VENV)/uv.lock; \
	$$pip install $(quiet) $(pinned) $(VENV)/uv.lock 2>/dev/null || true; \
	$(call install,requirements.lock); \
	touch $@

$(whole): $(VENV)/.locked pyproject.toml ecomlib/lab/overrides.json
	@set -e; $(run) -c 'import matplotlib.font_manager' & \
	project="--no-deps --no-build-isolation --editable ."; \
	$(uv) --no-cache $$project 2>/dev/null || $(run) -m pip install $(quiet) $$project; wait
	@printf '%s' "$(CURDIR)" > $@

$(tools): $(VENV)/.locked tests/requirements.lock
	@set -e; $(call install,tests/requirements.lock); touch $@

$(peers): $(VENV)/.locked benchmarks/requirements.lock
	@set -e; $(call install,benchmarks/requirements.lock); touch $@

# uv does in seconds what takes pip a minute, but reads none of pip's settings: which indexes to ask, whom to trust. Where
# it cannot do it all the same, pip does. The locks' hashes hold for both.
quiet := -qq --disable-pip-version-check --no-cache-dir
pinned := --only-binary :all: --require-hashes -r
uv = $(VENV)/bin/uv pip install --quiet --no-config --python $(run) --system-certs --index-strategy unsafe-best-match
define install
pip="$${pip:-$(run) -m pip}"; settings=$$($$pip config list); set --; \
of_pip() { echo "$$settings" | sed -n "s/^[^=]*\.$$1='\(.*\)'$$/\1/p" | sed 's/\\n/ /g; q'; }; \
for url in $$(of_pip index-url); do set -- "$$@" --default-index "$$url"; done; \
for url in $$(of_pip extra-index-url); do set -- "$$@" --index "$$url"; done; \
for url in $$(of_pip find-links); do set -- "$$@" --find-links "$$url"; done; \
for file in $$(of_pip cert); do set -- "$$@" --cert "$$file"; done; \
test -x $(VENV)/bin/uv && $(uv) "$$@" $(pinned) $(1) || { \
    echo "uv could not install $(1); pip tries, which takes minutes." >&2; $$pip install $(quiet) $(pinned) $(1); } || { \
    echo "$(1) could not be installed: is there a network? The lines above say what failed." >&2; exit 1; }; \
rm -rf "$$UV_CACHE_DIR"
endef

# Each is whole in itself; the later ones change no version of the first.
locks := requirements.lock tests/requirements.lock benchmarks/requirements.lock
systems := windows x86_64-apple-darwin aarch64-apple-darwin x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu

lock: ## pin the newest releases that pyproject.toml admits, for every Python and system
	@set -e; tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	$(or $(PYTHON),python3) -m venv "$$tools"; "$$tools/bin/python" -m pip install -qq uv; \
	compile() { \
	    "$$tools/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	        --no-emit-index-url --no-annotate --custom-compile-command "make lock" pyproject.toml "$$@"; \
	}; \
	compile --extra install --output-file requirements.lock; \
	compile --extra install --extra dev --constraint requirements.lock --output-file tests/requirements.lock; \
	compile --extra bench --constraint tests/requirements.lock --output-file benchmarks/requirements.lock; \
	for python in 3.11 3.12 3.13; do for system in $(systems); do for lock in $(locks); do \
	    "$$tools/bin/uv" pip install --no-config --quiet --dry-run --require-hashes --only-binary :all: \
	        --target "$$tools/none" --python-version $$python --python-platform $$system -r $$lock; \
	done; done; done

clean: ## remove the environment and what the tools left
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
