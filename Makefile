# Everything that CI and people run. `make run` shows an agent at work; `make test` is what CI calls.

PYTHON ?= python3
BIN := .venv/bin
# uv where it can be had: the same packages in a fifth of the time.
INSTALL = $$(test -x $(BIN)/uv && echo $(BIN)/uv pip install --quiet --python $(BIN)/python \
	|| echo $(BIN)/python -m pip install --quiet --disable-pip-version-check)

.PHONY: run test pytest soak audit lint types walls notebooks docs bench clean

run: .venv/ready-to-run
	@$(BIN)/python -m agentspan.cli.demo

# All checks are made, also after one has failed; pytest is the last, so that its closing line is.
test: .venv/ready-to-test
	@failed=""; \
	for each in lint types walls notebooks pytest; do \
		echo "== $$each"; \
		$(MAKE) --no-print-directory $$each || failed="$$failed $$each"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

pytest: .venv/ready-to-test
	@tests/chromium.sh
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not soak" $(ARGS)

# What takes long: the same tests at their full size, and those that need minutes each. Name some with ARGS=path.
soak: .venv/ready-to-test
	@tests/chromium.sh
	@AGENTSPAN_TEST_SIZE=full $(BIN)/python -m pytest --timeout 7200 -m "soak or sized" $(ARGS)

# What is known against the packages that are installed; ARGS=--strict fails where the index knows nothing.
audit: .venv/ready-to-test
	@$(INSTALL) 'pip-audit>=2.10'
	@$(BIN)/python .ci/audit.py $(ARGS)

lint: .venv/ready-to-test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/ready-to-test
	@$(BIN)/mypy

walls: .venv/ready-to-test
	@$(BIN)/lint-imports --no-logo

notebooks: .venv/ready-to-test
	@$(BIN)/python -m pytest -n 2 --dist loadscope --nbval --nbval-sanitize-with notebooks/sanitize.cfg --nbval-cell-timeout 60 notebooks

docs: .venv/ready-to-test
	@$(BIN)/python docs/draw.py --check
	@$(BIN)/python -m pytest --quiet tests/architecture/test_docs.py

bench: .venv/ready-to-test
	@$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment, and what each purpose needs in it: installed again when pyproject.toml has changed.

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "agentspan needs Python 3.11 or newer: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || echo "uv is not to be had here; going on with pip"
	@touch $@

# The local model has wheels for most machines and takes long to build on the others: there, the demo does without it.
.venv/ready-to-run: pyproject.toml .venv/made
	@$(INSTALL) --only-binary xllamacpp -e '.[server,dashboard,local]' \
		|| { echo "no local model for this machine; going on without it"; $(INSTALL) -e '.[server,dashboard]'; }
	@touch $@

.venv/ready-to-test: pyproject.toml .venv/made
	@$(INSTALL) -e '.[test,dev]'
	@touch $@
