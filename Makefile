# Two commands: `make demo` and `make test`. Everything else is listed by `make help`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# without its dependency smbus, which needs a compiler and which power supplies do not use
LIQUIDCTL := 'liquidctl>=1.16'
SOURCES := src tests benchmarks CV NLP RL stress docs/conf.py docs/pictures.py docs/runs

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types layers docs unit bench study truth bench-overhead bench-counters test-pmu wheel clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp  ## measure a real training on this machine and show the report
	@$(BIN)/python CV/demo.py
	@$(BIN)/pactmeter report demo-run/PACT.csv

test: system-packages  ## set everything up and run all checks and tests
	@$(MAKE) --no-print-directory check

check: lint types layers docs unit  ## ruff, mypy, import-linter, docs, pytest

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(VENV)/dev.stamp
	$(BIN)/mypy

layers: $(VENV)/dev.stamp
	$(BIN)/lint-imports

docs: $(VENV)/dev.stamp  ## draw the pictures of the documentation and build it into docs/_build/html
	$(BIN)/python docs/pictures.py
	$(BIN)/sphinx-build -q -W --keep-going -n -b html docs docs/_build/html

unit: $(VENV)/dev.stamp $(VENV)/peers.stamp $(VENV)/study.stamp
	$(BIN)/pytest --cov --cov-fail-under=90

bench: $(VENV)/dev.stamp $(VENV)/peers.stamp $(VENV)/study.stamp  ## joules in, joules out: truth tables on the emulated machine
	$(BIN)/pytest -q tests/truth tests/bench
	$(BIN)/python -m benchmarks.peers --peers $(CURDIR)/$(VENV)/peers/bin/python

study: $(VENV)/study.stamp  ## CV, NLP, RL and stress on an emulated machine, to a report (about 5 minutes)
	@sh tools/study.sh $(CURDIR)/$(VENV)/frameworks/bin/python study-tiny

truth: $(VENV)/dev.stamp $(VENV)/peers.stamp  ## how exact figures and statements are, on real and synthetic data
	$(BIN)/pytest -q tests/exact

bench-overhead: $(VENV)/dev.stamp $(VENV)/peers.stamp  ## what measuring costs, beside the peers
	$(BIN)/python -m benchmarks.all --peers $(CURDIR)/$(VENV)/peers/bin/python

bench-counters: $(VENV)/dev.stamp $(VENV)/perf.stamp  ## the counter sampler beside perf and performance-features
	$(BIN)/python -m benchmarks.counters --profiler $(CURDIR)/$(VENV)/perf/bin/python

test-pmu:  ## hardware counters in emulated arm64 guests (downloads 100 MB once; about a minute)
	@$(PYTHON) tests/pmu/guest.py --cache $(VENV)/pmu

wheel: $(VENV)/dev.stamp  ## build dist/pactmeter-*.whl
	$(BIN)/pip wheel -q --no-deps -w dist .

clean:  ## remove what the targets above have made
	rm -rf $(VENV) dist build docs/_build demo-run study-tiny study-tiny.* .coverage* .mypy_cache .ruff_cache .pytest_cache

.PHONY: system-packages
system-packages:
	@sh tools/system-packages.sh $(PYTHON)

$(VENV)/pip.stamp:
	@sh tools/make-venv.sh $(PYTHON) $(VENV)
	@touch $@

$(VENV)/demo.stamp: $(VENV)/pip.stamp pyproject.toml requirements-psu.txt
	@echo "setting up $(VENV) (once) ..."
	@$(BIN)/python -m pip install -q --use-pep517 -e '.[nvml,demo]' -r requirements-psu.txt
	@$(BIN)/python -m pip install -q --no-deps $(LIQUIDCTL)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/pip.stamp pyproject.toml requirements-psu.txt
	@echo "setting up $(VENV) for development (once) ..."
	@$(BIN)/python -m pip install -q --use-pep517 -e '.[nvml,report,demo,hdf5,parquet,dev]' \
		-r requirements-psu.txt
	@$(BIN)/python -m pip install -q --no-deps $(LIQUIDCTL)
	@$(BIN)/python -m pip install -q --use-pep517 smbus || \
		echo "no compiler for smbus: the tests that run liquidctl's own command are left out"
	@touch $@

$(VENV)/peers.stamp: $(VENV)/pip.stamp benchmarks/peers.txt
	@sh tools/make-venv.sh $(PYTHON) $(VENV)/peers
	@$(VENV)/peers/bin/python -m pip install -q -r benchmarks/peers.txt
	@touch $@

# what the studies, the callbacks and the notebook's magic are tested with
$(VENV)/frameworks.stamp: $(VENV)/pip.stamp tests/integration/frameworks.txt tests/integration/workloads.txt
	@sh tools/make-venv.sh $(PYTHON) $(VENV)/frameworks
	@$(VENV)/frameworks/bin/python -m pip install -q -r tests/integration/workloads.txt
	@touch $@

# trainings, power supplies and reports in one Python: that of the frameworks
$(VENV)/study.stamp: $(VENV)/frameworks.stamp pyproject.toml requirements-psu.txt
	@echo "setting up $(VENV)/frameworks for studies (once) ..."
	@$(VENV)/frameworks/bin/python -m pip install -q --use-pep517 -e '.[nvml,report]' \
		-r requirements-psu.txt
	@$(VENV)/frameworks/bin/python -m pip install -q --no-deps $(LIQUIDCTL)
	@touch $@

# performance-features is compiled: where that fails, the table says so
$(VENV)/perf.stamp: $(VENV)/pip.stamp tools/perf-packages.sh
	@sh tools/perf-packages.sh $(PYTHON)
	@sh tools/make-venv.sh $(PYTHON) $(VENV)/perf
	@$(VENV)/perf/bin/python -m pip install -q 'performance-features>=0.2.6' || \
		echo "performance-features does not build here"
	@touch $@
