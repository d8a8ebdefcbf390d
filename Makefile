# make run: everything from an empty clone to results.  make test: the same set-up and all tests.
PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run environment test lint benchmark reference graph legacy-table lock clean

run: $(VENV)/.complete
	@PATH="$(CURDIR)/$(BIN):$$PATH" CONSILIENCE_MAKE=run $(BIN)/snakemake --cores $(CORES)
	@cat results/summary.txt

environment: $(VENV)/.complete

test: $(VENV)/.complete
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest --numprocesses 2

lint: $(VENV)/.complete
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

benchmark: $(VENV)/.complete
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; PYTHONPATH=workflow $(BIN)/python $$script || exit 1; done

reference: $(VENV)/.complete
	$(BIN)/python config/reference.py

graph: $(VENV)/.complete
	PYTHONPATH=workflow $(BIN)/python -m workflow.rules.graph

legacy-table: $(VENV)/.complete
	PYTHONPATH=workflow $(BIN)/python -m workflow.rules.legacy_table

# The lock is the newest tree that pyproject.toml admits, with torch at the version the project is tested with.
lock:
	rm -rf $(VENV)-lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet 'torch==2.13.0' '.[workflow,test]'
	$(VENV)-lock/bin/pip freeze --all --exclude pip --exclude consilience | $(PYTHON) envs/lock.py
	rm -rf $(VENV)-lock

clean:
	find results -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	rm -rf logs benchmarks checkpoints .snakemake

# The stamp is written last, so that an interrupted set-up starts again.
$(VENV)/.complete: envs/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Consilience needs Python 3.11 or newer, found %d.%d; try: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Setting up $(VENV) from envs/requirements.txt (once, a minute or two) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement envs/requirements.txt
	@touch $@
