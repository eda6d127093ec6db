# Everything that is done more than once. Each target prepares what it needs (scripts/bootstrap.sh),
# so any of them may be the first command in a fresh checkout.
#
#   PYTEST_ARGS   more arguments for pytest, as in: make test PYTEST_ARGS="tests/test_sync.py -x"
#   TONIO_PYTHON  the free-threaded interpreter to use

SHELL := /bin/bash
BIN := .venv/bin
PYTHON := $(BIN)/python
NINJA := $(BIN)/ninja
C_FILES = $(shell find src tests/core benchmarks -name '*.[ch]' 2>/dev/null)

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

.PHONY: test
test: build ## run all tests: pytest, then the C unit tests
	@status=0; \
	$(PYTHON) -m pytest $(PYTEST_ARGS) || status=$$?; \
	scripts/test_core.sh plain || status=$$?; \
	exit $$status

.PHONY: test-conformance
test-conformance: build ## run CPython's own test_socket against TonIO's sockets
	$(PYTHON) tests/conformance/run.py $(CONFORMANCE_ARGS)

.PHONY: stress
stress: build ## a million closes and many cancellations that race with parked tasks (minutes)
	$(PYTHON) tests/stress/close_hammer.py 1000000
	$(PYTHON) tests/stress/cancel_hammer.py 100000

MINUTES := 3

.PHONY: soak
soak: build ## everything at once for MINUTES=3; what grows is drawn in build/soak/soak.svg
	$(PYTHON) tests/stress/soak.py --minutes $(MINUTES)

.PHONY: test-scopes-long
test-scopes-long: build ## 2000 generated programs of scopes in each notation (minutes)
	TONIO_EXAMPLES=2000 $(PYTHON) -m pytest --timeout 900 tests/test_scope_programs.py

.PHONY: test-races
test-races: build ## a million cancellations that race with completions; 100 interrupts of each kind (minutes)
	$(PYTHON) tests/stress/cancel_races.py 1000000
	$(PYTHON) tests/stress/interrupts.py 100

.PHONY: demo
demo: build ## serve and fetch the standard library on all cores, compare every byte
	$(PYTHON) examples/demo.py

.PHONY: bench
bench: build ## run the benchmarks
	$(PYTHON) benchmarks/run.py $(BENCH_ARGS)

.PHONY: lint
lint: tools ## check style, types and layers
	@scripts/lint.sh

.PHONY: format
format: tools ## rewrite all files in the project's style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

.PHONY: test-core
test-core: tools ## run the C unit tests
	@scripts/test_core.sh plain

.PHONY: test-core-san
test-core-san: tools ## run the C unit tests under ThreadSanitizer, and under AddressSanitizer and UBSan
	@scripts/test_core.sh thread
	@scripts/test_core.sh address

.PHONY: build
build: ## build the extension; compile errors show here
	@scripts/build.sh

.PHONY: debug
debug: ## rebuild the extension unoptimized, with its invariants checked (TONIO_DEBUG)
	@scripts/build.sh debug

.PHONY: release
release: ## rebuild the extension as it is by default
	@scripts/build.sh release

.PHONY: tools venv
tools venv:
	@scripts/bootstrap.sh tools

.PHONY: clean
clean: ## remove all that was built, but not the virtual environment
	rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## remove the virtual environment too (a built interpreter stays in the cache)
	rm -rf .venv
