# make serve: install into .venv and serve on localhost:5000 (CONFIG=... for another YAML)
# make test:  install and run every test        make check: lint, types and format
# make fuzz:  damage images and uploads at random for ten minutes (FUZZ_S=...)
# make bench: measure the service beside its peers (ARGS=--quick for a short try)
# make bench-growth: its cost as replicas, images and requests grow
# make chaos: kill parts of the service while it serves (ARGS=--quick for a short try)
# make overload: offer ten times what it can do

CONFIG ?= serve_config.yaml
PYTHON ?= python3
FUZZ_S ?= 600
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check install --quiet

.PHONY: serve test check fuzz bench bench-growth chaos overload clean

serve: $(VENV)/.serve
	exec $(VENV)/bin/python -m deployments $(CONFIG)

test: $(VENV)/.dev
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile

check: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

fuzz: $(VENV)/.dev
	$(VENV)/bin/python -W ignore -m tests.fuzz $(FUZZ_S)

bench: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks $(ARGS)

bench-growth: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks.growth $(ARGS)

chaos: $(VENV)/.bench
	RAY_AUTH_MODE=token $(VENV)/bin/python -m chaos $(ARGS)

overload: $(VENV)/.bench
	$(VENV)/bin/python -m chaos.overload $(ARGS)

clean:
	rm -rf $(VENV) benchmarks/.venvs

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: requirements.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV) (a few minutes, once) ..."
	$(PIP) -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.serve
	$(PIP) -r requirements-dev.txt
	touch $@

$(VENV)/.bench: requirements-bench.txt $(VENV)/.serve
	$(PIP) -r requirements-bench.txt
	touch $@
