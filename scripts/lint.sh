#!/usr/bin/env bash
# Checks style, types and layers; runs all the checks, then says which of them failed.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
PATH=$PWD/.venv/bin:$PATH
failed=()

check() {
    local what=$1
    shift
    if "$@"; then
        printf 'lint: %s: good\n' "$what"
    else
        printf 'lint: %s: FAILED (%s)\n' "$what" "$*"
        failed+=("$what")
    fi
}

c_style() {
    local files
    files=$(find src tests/core tests/model tests/faults benchmarks -name '*.[ch]' 2>/dev/null)
    # shellcheck disable=SC2086
    clang-format --dry-run -Werror $files
}

types() {
    mypy --strict tonio examples tests/typing/typical.py
}

# no_match PATTERN FILE...: no line of the files matches.
no_match() {
    ! grep -nE "$@"
}

# A lower layer never includes a higher one, and src/core knows no Python.
layers() {
    no_match '# *include *([<"]Python\.h|"([^c]|c[^o]|co[^r]))' src/core/*.[ch] &&
        no_match '# *include *"types/' src/runtime/*.[ch]
}

shell_syntax() {
    local file
    for file in scripts/*.sh .ci/run; do
        bash -n "$file" || return 1
    done
}

check "ruff check" ruff check --quiet .
check "ruff format" ruff format --check --quiet .
check "clang-format" c_style
check "mypy --strict" types
check "layers" layers
check "shell syntax" shell_syntax

if [ ${#failed[@]} != 0 ]; then
    printf 'lint: failed: %s\n' "${failed[*]}"
    exit 1
fi
