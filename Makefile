# Everything that is done more than once. Each target prepares what it needs (scripts/bootstrap.sh),
# so any of them may be the first command in a fresh checkout.
#
#   PYTEST_ARGS   more arguments for pytest, as in: make test PYTEST_ARGS="tests/test_sync.py -x"
#   BENCH_ARGS    more arguments for the benchmarks, as in: make bench BENCH_ARGS="echo --rounds 9"
#   TONIO_PYTHON  the free-threaded interpreter to use

SHELL := /bin/bash
BIN := .venv/bin
PYTHON := $(BIN)/python
NINJA := $(BIN)/ninja
C_FILES = $(shell find src tests/core tests/model tests/faults benchmarks -name '*.[ch]' 2>/dev/null)

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

.PHONY: test
test: build ## run all tests: pytest, then the C unit tests
	@status=0; \
	$(PYTHON) -m pytest $(PYTEST_ARGS) || status=$$?; \
	scripts/test_core.sh plain || status=$$?; \
	exit $$status

.PHONY: test-tsan
test-tsan: tools ## run pytest on an interpreter and an extension under ThreadSanitizer (an hour)
	@scripts/test_python.sh tsan $(PYTEST_ARGS)

.PHONY: test-asan
test-asan: tools ## the same under AddressSanitizer, LeakSanitizer and UBSan
	@scripts/test_python.sh asan $(PYTEST_ARGS)

.PHONY: test-refleaks
test-refleaks: tools ## hunt for leaked references and blocks on a debug build of the interpreter
	@scripts/test_python.sh debug $(or $(PYTEST_ARGS),tests/test_leaks.py)

.PHONY: coverage
coverage: tools ## show which lines of src/ and tonio/ have run; fails if docs/coverage.md does not say why one has not
	@scripts/test_python.sh coverage $(PYTEST_ARGS)
	@scripts/test_core.sh coverage
	@scripts/build.sh faults-coverage
	@find build/coverage/faults -name '*.gcda' -delete
	TONIO_FAULTS_BUILD=$(CURDIR)/build/coverage/faults $(PYTHON) tests/faults/run.py --notation await
	@build/coverage/venv/bin/python scripts/coverage_table.py

.PHONY: test-conformance
test-conformance: build ## run CPython's own test_socket against TonIO's sockets
	$(PYTHON) tests/conformance/run.py $(CONFORMANCE_ARGS)

.PHONY: test-model
test-model: build ## explore the interleavings of the C code's protocols, and of broken variants (minutes)
	$(PYTHON) tests/model/run.py $(MODEL_ARGS)

.PHONY: test-seeds
test-seeds: SEEDS ?= 1000
test-seeds: build ## run tests of scopes, channels and sockets under SEEDS=1000 seeds of the scheduler (minutes)
	$(PYTHON) tests/seeds/run.py --seeds $(SEEDS)

.PHONY: stress
stress: build ## closes, cancellations, bad clients, restarts by the hundred thousand (minutes)
	$(PYTHON) tests/stress/close_hammer.py 1000000
	$(PYTHON) tests/stress/cancel_hammer.py 100000
	$(PYTHON) tests/stress/restart.py 20
	$(PYTHON) tests/stress/bad_clients.py 100000
	$(PYTHON) tests/stress/tls_bulk.py 1024
	$(PYTHON) tests/stress/sync_stress.py 1000000

MINUTES := 3

.PHONY: soak
soak: build ## everything at once for MINUTES=3; what grows is drawn in build/soak/soak.svg
	$(PYTHON) tests/stress/soak.py --minutes $(MINUTES)

.PHONY: test-scopes-long
test-scopes-long: build ## 2000 generated programs of scopes in each notation (minutes)
	TONIO_EXAMPLES=2000 $(PYTHON) -m pytest --timeout 900 tests/test_scope_programs.py

.PHONY: test-models
test-models: build ## 2000 sequences of steps with each lock and channel, compared with models (minutes)
	TONIO_EXAMPLES=2000 $(PYTHON) -m pytest -v --timeout 1800 --durations 0 tests/test_models.py

.PHONY: test-fuzz-long
test-fuzz-long: build ## compare sockets with the standard module's, 3000 examples per test (minutes)
	TONIO_EXAMPLES=3000 $(PYTHON) -m pytest --timeout 3600 --durations 0 tests/test_fuzz_*.py

.PHONY: test-races
test-races: build ## a million cancellations that race with completions; 100 interrupts of each kind (minutes)
	$(PYTHON) tests/stress/cancel_races.py 1000000
	$(PYTHON) tests/stress/interrupts.py 100

.PHONY: test-faults
test-faults: ## make every call that can fail do so, once each (FAULTS=short: a sample for a minute)
	@scripts/build.sh faults
	$(PYTHON) tests/faults/run.py $(if $(filter short,$(FAULTS)),--short) $(FAULTS_ARGS)

.PHONY: demo
demo: build ## serve and fetch the standard library on all cores, compare every byte
	$(PYTHON) examples/demo.py

# Part of the benchmarks is no document.
WRITE_BENCH_DOCS = $(if $(BENCH_ARGS),true,$(PYTHON) benchmarks/publish.py)

.PHONY: bench
bench: build ## run the benchmarks, beside other libraries, and write docs/benchmarks.md (twenty minutes)
	$(PYTHON) benchmarks/run.py $(BENCH_ARGS)
	@$(WRITE_BENCH_DOCS)

.PHONY: bench-full
bench-full: build ## the same with nine rounds and longer windows (an hour)
	$(PYTHON) benchmarks/run.py --full $(BENCH_ARGS)
	@$(WRITE_BENCH_DOCS)

.PHONY: bench-compare
bench-compare: build ## what became slower since a commit: make bench-compare BASE=HEAD~3
	$(PYTHON) benchmarks/compare.py $(BASE) $(BENCH_ARGS)

.PHONY: bench-docs
bench-docs: build ## make docs/benchmarks.md from the newest results
	$(PYTHON) benchmarks/publish.py $(RESULTS)

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
