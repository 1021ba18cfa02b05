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

.PHONY: help setup demo rehearse test test-all check clean-demo
help:
	@sed -n '1,3s/^# //p' Makefile

setup: $(STAMP)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check --quiet --progress-bar on -r requirements.lock
	touch $(STAMP)

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

check: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean-demo:
	rm -rf $(DEMO)
