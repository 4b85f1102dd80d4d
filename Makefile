# `make demo` and `make test` are all that a newcomer needs; both set up what they use.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 4

.PHONY: demo test chaos lint firmware schema clean

demo: firmware
	$(BIN)/python -m pytest batches/demo.yaml -n 8

# Real boot loaders have real time windows, and the suite loads the machine itself: what failed in it has to pass alone,
# one test after the other; both results are shown. A test that is in the first list often is one to be mended.
test: .venv/.ready .venv/stock/.ready debian
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal || { test $$? = 1 && \
		echo "make test: once more, alone, what failed while the machine was loaded" && \
		$(BIN)/python -m pytest --last-failed --last-failed-no-failures none -rfE; }

# The kill test, for as long as wanted: make chaos SECONDS=3600 SEED=7
SECONDS ?= 600
chaos: .venv/.ready
	$(BIN)/python -m tests.e2e.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks
	$(BIN)/lint-imports

firmware: .venv/.ready
	$(BIN)/python -m drivers.virtual.demo build/demo

schema: .venv/.ready
	$(BIN)/batch-flash schema > docs/batch.schema.json
	$(BIN)/batch-flash schema --site > docs/site.schema.json

# Debian packages of the tests: a browser, to look at the report as a person does; a database that several machines can
# share; other people's tools, compilers and a simulator that runs real boot loaders. The product needs the tool of the
# family in use: avrdude for Arduinos, libusb for a Pico over USB.
.PHONY: debian
debian:
	@sh .ci/debian-packages

.venv/.ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# Stock tools of the tests whose dependencies do not go together with the project's.
.venv/stock/.ready: .venv/.ready .ci/stock-tools.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --upgrade \
		--target .venv/stock --requirement .ci/stock-tools.txt
	touch $@

clean:
	rm -rf .venv build runs .bench store *.egg-info
