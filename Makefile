# Wakeguard's commands. `make demo` and `make test` set everything up themselves: see tools/setup.sh.

PYTHON_VENV := .venv/bin/python
SHELL_FILES := .ci/run $(wildcard tools/*.sh)
# Two at a time: most tests wait for a kernel, a clock or a peer. A file's tests stay together.
PYTEST_OPTIONS ?= --numprocesses=2 --dist=loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench bench-audio clean

help:
	@echo 'make demo     show the gate at work in a simulated household (needs root; under two minutes)'
	@echo 'make test     every check and every test; what CI runs'
	@echo 'make lint     only the checks: format, lint, types, imports, shell'
	@echo 'make format   rewrite the sources in the house format'
	@echo 'make bench    measure speed, size and growth beside C and Suricata (needs root; about forty minutes)'
	@echo 'make bench-audio  measure the wake-word detectors (needs ../shared/data/audio, flite, espeak-ng; over an hour)'
	@echo 'make clean    remove everything that was built, .venv too'
	@echo
	@bash tools/setup.sh demo plan

demo:
	@bash tools/setup.sh demo
	@bash tools/as-root.sh .venv/bin/wakeguard lab

test: lint
	@bash tools/as-root.sh --if-possible $(PYTHON_VENV) -m pytest $(PYTEST_OPTIONS)

lint:
	@bash tools/setup.sh test
	$(PYTHON_VENV) -m ruff format --check .
	$(PYTHON_VENV) -m ruff check .
	$(PYTHON_VENV) -m mypy
	.venv/bin/lint-imports
	shellcheck $(SHELL_FILES)

format:
	@bash tools/setup.sh test
	$(PYTHON_VENV) -m ruff check --fix --exit-zero --quiet .
	$(PYTHON_VENV) -m ruff format .

bench:
	@bash tools/setup.sh test
	@bash tools/as-root.sh $(PYTHON_VENV) -m tests.bench

bench-audio:
	@bash tools/setup.sh test
	$(PYTHON_VENV) -m tests.audio_bench

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find guard hardware tests -name __pycache__ -type d -prune -exec rm -rf {} +
