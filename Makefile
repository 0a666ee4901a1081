# make serve: install into .venv and serve on localhost:5000 (PORT=... for another port, CONFIG=... for another YAML,
#             ARGS='--metrics-port 0' for options of the launcher)
# make install: install into .venv, and start nothing (before systemd starts a new version)
# make classify: classify PHOTOS='cat.jpg folder' with the running service (PORT=..., ARGS=--help for options;
#             names with spaces: PHOTOS="'my cat.jpg' folder"); a photo that fails does not fail make
# make test:  install and run every test        make check: lint, types and format
# make fuzz:  damage images and uploads at random for ten minutes (FUZZ_S=...)
# make bench: measure the service beside its peers (ARGS=--quick for a short try,
#             ARGS='--model stub' for the cost without the model)
# make bench-gpu: the model and the service on a GPU
# make bench-scaling: the cost of the service as replicas, images and requests grow
# make chaos: kill parts of the service while it serves (ARGS=--quick for a short try)
# make overload: offer ten times the load that the service can take
# make image: build the container image, run it and have it classify PHOTOS (or made-up pictures)
# make clean: remove .venv and the environments of the benchmark

CONFIG ?= serve_config.yaml
PYTHON ?= python3
FUZZ_S ?= 600
BUILD ?= docker build --tag densenet-serve .
RUN ?= docker run --rm --init --publish 5000:5000 densenet-serve
PHOTOS ?=
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check install

.PHONY: help install serve classify test check fuzz bench bench-gpu bench-scaling chaos overload image clean

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

serve: $(VENV)/.serve
	exec $(VENV)/bin/python -m deployments $(CONFIG) $(if $(PORT),--port $(PORT)) $(ARGS)

install: $(VENV)/.serve

classify: $(VENV)/.serve
	@$(if $(strip $(PHOTOS)$(ARGS)),,echo "Name photos or folders: make classify PHOTOS='cat.jpg holiday'" >&2; exit 2)
	@$(if $(filter-out classify install,$(MAKECMDGOALS)),echo "Quote the photos: make classify PHOTOS='cat.jpg holiday'" >&2; exit 2)
	@set -- $(PHOTOS); if [ -e "$$PHOTOS" ]; then set -- "$$PHOTOS"; fi; \
	$(VENV)/bin/classify "$$@" $(if $(PORT),--url http://localhost:$(PORT)) $(ARGS) || [ $$? -eq 1 ]

test: $(VENV)/.dev
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder

check: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/hadolint Dockerfile
	$(VENV)/bin/shellcheck .ci/run *.sh
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

fuzz: $(VENV)/.dev
	$(VENV)/bin/python -W ignore -m tests.fuzz $(FUZZ_S)

bench: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks $(ARGS)

bench-gpu: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks.gpu $(ARGS)

bench-scaling: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks.scaling $(ARGS)

chaos: $(VENV)/.bench
	RAY_AUTH_MODE=token $(VENV)/bin/python -m chaos $(ARGS)

overload: $(VENV)/.bench
	$(VENV)/bin/python -m chaos.overload $(ARGS)

image: $(VENV)/.dev
	$(BUILD)
	$(VENV)/bin/python -m tests.image "$(RUN)" $(PHOTOS)

clean:
	rm -rf $(VENV) benchmarks/.venvs

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# The client comes with its command, `classify`.
$(VENV)/.serve: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV), once: a few minutes, and 6.1 GB with CUDA's libraries. pip prints nothing while it unpacks them, for a minute or two."
	@echo "Without a GPU, PyTorch's builds for CPUs are smaller: Ctrl-C, then"
	@echo "'make serve PIP_EXTRA_INDEX_URL=...' with the index that pytorch.org names for them."
	$(PIP) -r requirements.txt --editable .
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.serve
	$(PIP) --quiet -r requirements-dev.txt
	touch $@

$(VENV)/.bench: requirements-bench.txt $(VENV)/.serve
	$(PIP) --quiet -r requirements-bench.txt
	touch $@
