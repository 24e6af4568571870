# Set-up, demonstration, tests and measurements. Every target installs what it needs and is safe to run twice.
#
#   make demo     a microcontroller in an emulator learns two digits that its network has never seen
#   make test     everything that must pass: style, types, import rule, tests
#   make fuzz     a million random inputs into both ends of the link
#   make soak     100,000 samples over a line with every fault, 200 power cuts of each kind
#   make bench    the tables of the documentation; MODELS=... names int8 .tflite files
#   make goodput  how much of what line and device allow a stream reaches, for the documentation
#   make verify-models   every model on every board against the references, with a trainable head and without
#   make micropython    fetches and builds the MicroPython that tests run on; part of `make test`
#   make machine-code   compiles the kernels for MicroPython, after one was changed
#   make wheel    the Python package, in dist/

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2

# int8 .tflite files for the tables and comparisons, such as the MLPerf Tiny reference models.
MODELS ?= $(wildcard ../shared/models/*.tflite)

# Debian's names; elsewhere `edgelearn doctor` says what is missing.
APT_PACKAGES := gcc g++ libc6-dev make cmake python3-venv qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi \
  qemu-system-misc gcc-avr avr-libc arduino-core-avr libsimavr-dev
# For the tests on real MicroPython, and the keys that its packages are signed with, which Ubuntu has apart.
MICROPYTHON_PACKAGES := qemu-user debian-archive-keyring
# For the tests of the page. Ubuntu has Chromium only as a snap: there they run with the browser that is installed.
BROWSER_PACKAGES := $(shell grep -qs '^ID=debian' /etc/os-release && echo chromium chromium-driver)

.PHONY: demo test check fuzz soak bench goodput verify-models machine-code wheel setup system browser micropython clean

demo: setup
	$(BIN)/edgelearn demo --output runs/demo --runs runs

test: check browser micropython
	CI=$${CI:-} $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: setup
	EDGELEARN_FUZZ_INPUTS=1000000 $(BIN)/python -m pytest -n $(WORKERS) tests -k fuzz

soak: setup
	EDGELEARN_SOAK_SAMPLES=100000 EDGELEARN_POWER_CUTS=200 EDGELEARN_STORE_SAVES=60 \
	  $(BIN)/python -m pytest tests/emulator/test_soak.py tests/emulator/test_power_cuts.py \
	  tests/emulator/test_store.py tests/vectors/test_store.py

bench: setup
	$(BIN)/python benchmarks/head_accuracy.py
	$(BIN)/python -m benchmarks.inference $(MODELS) $(if $(MODELS),--docs)

goodput: setup
	$(BIN)/python -m benchmarks.goodput --docs

# Every byte of each model on every board, and 256 training steps of those with a trainable head.
verify-models: setup
	$(BIN)/python -m benchmarks.verify_models $(MODELS)

machine-code: setup
	$(BIN)/python -m edgelearn.firmware.machine_code

wheel: setup
	$(BIN)/python -m build

setup: system $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev
	@touch $@

# Install with apt-get what is missing, and only then.
define install
	@if command -v apt-get >/dev/null 2>&1; then \
	  missing=$$(for p in $(1); do \
	    dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	  if [ -n "$$missing" ]; then \
	    sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	    echo "installing" $$missing; \
	    $$sudo apt-get update -qq && \
	    $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  fi; \
	fi
endef

system:
	$(call install,$(APT_PACKAGES))

browser:
	$(call install,$(BROWSER_PACKAGES))

# MicroPython for the tests, once, in build/micropython.
micropython: setup
	$(call install,$(MICROPYTHON_PACKAGES))
	CI=$${CI:-} $(BIN)/python -m tests.support.micropython

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
