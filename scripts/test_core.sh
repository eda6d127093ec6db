#!/usr/bin/env bash
# Builds and runs the C unit tests: test_core.sh plain|thread|address|coverage [argument of meson test ...]
#
# src/core needs no Python, so these builds do not look for one. Each kind has its folder in build/.
# The checks of the invariants (TONIO_DEBUG) are on in all of them but the one that counts lines.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/common.sh"
cd "$root"
PATH=$root/.venv/bin:$PATH

kind=${1:?usage: test_core.sh plain|thread|address|coverage}
shift
build=build/core-$kind
options=(-Dcore_only=true -Dchecks=true -Dwerror=true -Dbuildtype=debugoptimized)
wrapper=()
multiplier=1

# Can this compiler make a program that runs under ThreadSanitizer here? Sets `wrapper` if it takes a
# fixed address layout: some pairs of a compiler and a kernel's randomization do not go together.
thread_sanitizer_works() {
    local program=$build.probe
    echo 'int main(void) { return 0; }' |
        "$1" -fsanitize=thread -x c -o "$program" - >"$build.log" 2>&1 || return 1
    if ! "./$program" >>"$build.log" 2>&1; then
        wrapper=(setarch -R)
        setarch -R "./$program" >>"$build.log" 2>&1 || return 1
    fi
}

choose_compiler() {
    local compiler
    for compiler in ${CC:+"$CC"} gcc clang; do
        wrapper=()
        if have "$compiler" && thread_sanitizer_works "$compiler"; then
            export CC=$compiler
            rm -f "$build.probe"
            return
        fi
    done
    cat "$build.log" >&2
    fail "no compiler here makes programs that run under ThreadSanitizer"
}

mkdir -p build
case $kind in
plain)
    ;;
thread)
    choose_compiler
    options+=(-Db_sanitize=thread -Db_lundef=false)
    export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:history_size=4
    multiplier=5
    ;;
coverage)
    options+=(-Dchecks=false -Dbuildtype=debug -Db_coverage=true -Dc_args=-fprofile-update=atomic)
    mkdir -p "$build"
    find "$build" -name '*.gcda' -delete
    ;;
address)
    options+=("-Db_sanitize=address,undefined" -Db_lundef=false)
    export ASAN_OPTIONS=halt_on_error=1:abort_on_error=1:detect_stack_use_after_return=1
    export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1
    multiplier=3
    ;;
*)
    fail "usage: test_core.sh plain|thread|address|coverage"
    ;;
esac

say "C unit tests: $kind (${CC:-cc})"
# build.ninja is the last thing that a set-up writes; without it the folder is of no use.
if [ ! -e "$build/build.ninja" ]; then
    remove "$build"
    meson setup "$build" "${options[@]}" >"$build.log" 2>&1 || {
        cat "$build.log" >&2
        fail "setting up $build failed"
    }
fi
ninja -C "$build" --quiet
"${wrapper[@]+"${wrapper[@]}"}" meson test -C "$build" --no-rebuild --print-errorlogs \
    --timeout-multiplier "$multiplier" "$@"
