# make demo   from nothing to an ablation report     make test       all fast checks and tests
# make setup  only the environment                   make test-all   the slow tests too
# make rehearse   the studies of real images, tiny
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
DEMO := runs/demo
# Test processes; one that has nothing left takes tests from the other.
WORKERS ?= 2
# What is tested, by `make test-all` with each of them that is installed.
PYTHONS := python3.11 python3.13
VERSION := -c 'import sys; print("python%d.%d" % sys.version_info[:2])'

.PHONY: help setup same-python demo rehearse test test-all test-pythons check clean-demo
help:
	@sed -n '1,3s/^# //p' Makefile

setup: $(STAMP)

$(STAMP): requirements.lock | same-python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check --quiet --progress-bar on -r requirements.lock
	touch $(STAMP)

# An environment stays with the Python that made it: another one that is asked for would go unheard.
same-python:
ifneq ($(origin PYTHON),file)
	@test -x $(RUN) || exit 0; asked=$$($(PYTHON) $(VERSION)) || exit 1; made=$$($(RUN) $(VERSION)); test "$$asked" = "$$made" || \
	  { echo "$(VENV) has $$made, asked for is $$asked: add VENV=.venv-$$asked, or remove $(VENV)" >&2; exit 1; }
endif

demo: $(STAMP)
	$(RUN) -m experiments demo --jobs 2 --out $(DEMO)

test: $(STAMP) check
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m "not slow" -n $(WORKERS) --dist worksteal

# The first answer's studies from sweep to verdicts, on a few drawn glyphs: two seeds an arm, nothing but a checkout.
# One process for all: imports are most of what so small trials take.
rehearse: $(STAMP)
	rm -rf runs/rehearsal
	$(RUN) -m experiments reproduce configs/studies/animals_*.yaml configs/studies/bccd_*.yaml --scale tiny --yes --no-probe \
	  --jobs $(WORKERS) --out runs/rehearsal

# The numeric rooms again with the vectors of other machines and two threads.
test-all: $(STAMP) check
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --dist worksteal
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=2 $(RUN) -m pytest -m "not slow" tests/losses tests/detectors
	$(MAKE) test-pythons

# The quick checks with the other Pythons that are here, each in an environment of its own.
test-pythons: $(STAMP)
	@for python in $(filter-out $(shell $(RUN) $(VERSION) 2>/dev/null),$(PYTHONS)); do \
	  if $$python -c 'import ensurepip' 2>/dev/null; then $(MAKE) test PYTHON=$$python VENV=.venv-$$python || exit 1; \
	  else echo "Not tested with $$python: it is not installed, or not with its venv."; fi; \
	done

check: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean-demo:
	rm -rf $(DEMO)
