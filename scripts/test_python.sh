#!/usr/bin/env bash
# Runs pytest on a build of a kind of its own: test_python.sh KIND [short | argument of pytest ...]
#
#   debug      an interpreter that counts its references; TonIO with its invariants checked
#   tsan       interpreter and TonIO under ThreadSanitizer
#   asan       interpreter and TonIO under AddressSanitizer with LeakSanitizer, TonIO under UBSan as well
#   coverage   counts which lines of C and of Python run; scripts/coverage_table.py shows them
#
# Each kind has its folder build/KIND and does not disturb the others. The sanitizers run the tests on 4 threads
# and write their reports, also those of the programs that tests start, to build/KIND/reports; one report is
# a failure.
#
# Which memory AddressSanitizer watches:
#
#   malloc and its like, PyMem_RawMalloc: all that src/ allocates for itself. Fully: bytes before and after, use
#       after free (with a quarantine), leaks.
#   PyMem_Malloc, PyObject_Malloc, all Python objects: mimalloc's, which does not let itself be replaced on a
#       free-threaded interpreter, but is built to mark its free memory (MI_TRACK_ASAN). Use after free until the block
#       is handed out again, which happens soon; bytes after it, up to the next word at least. No leaks: those
#       are for test_leaks.py on the debug build. To LeakSanitizer, live objects are roots (tests/sanitizers).
#   stack and globals of the interpreter and of src/. Not: memory that other libraries map for themselves, and
#       what OpenSSL, SQLite and their like do with the memory that they got from malloc.
#
# UBSan is on for src/ alone.
#
# `short` is what CI has time for.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/common.sh"
cd "$root"

kind=${1:?usage: test_python.sh debug|tsan|asan|coverage [short | argument of pytest ...]}
shift
[ "$kind" != plain ] || fail "for the usual build there is make test"
kind_settings "$kind"
if [ "${1:-}" = short ]; then
    case $kind in
    debug) set -- tests/test_leaks.py -k keeps ;;
    *) set -- -k await tests/test_{spawn,scope,select,event,lock,channel,cancel_races,blocking,socket,time}.py ;;
    esac
fi
reports=$root/build/$kind/reports

scripts/bootstrap.sh project "$kind"
(hush_sanitizers && PATH=$venv/bin:$PATH ninja -C "$build" --quiet)
remove "$reports"
mkdir -p "$reports"

case $kind in
tsan)
    export TONIO_TEST_THREADS=4
    cat "$(interpreter_prefix tsan)/share/suppressions_free_threading.txt" tests/sanitizers/tsan.txt \
        >"build/tsan/suppressions"
    # The reports are what is looked at in the end: the status of a program stays what it is.
    # A child may start threads: what a fork can leave locked in the sanitizer it has not met yet.
    export TSAN_OPTIONS=exitcode=0:history_size=4:second_deadlock_stack=1:die_after_fork=0
    TSAN_OPTIONS+=:suppressions=$root/build/tsan/suppressions:log_path=$reports/report
    ;;
asan)
    export TONIO_TEST_THREADS=4
    # A size that cannot be had is a MemoryError; faulthandler does not get to see the signals.
    export ASAN_OPTIONS=abort_on_error=1:detect_leaks=1:allocator_may_return_null=1:handle_segv=2
    ASAN_OPTIONS+=:detect_stack_use_after_return=1:log_path=$reports/report
    export LSAN_OPTIONS=suppressions=$root/tests/sanitizers/lsan.txt:print_suppressions=0
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:log_path=$reports/report
    cp tests/sanitizers/sitecustomize.py "$("$venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')"
    ;;
esac

runner=(-m pytest)
if [ "$kind" = coverage ]; then
    runner=(-m coverage run -m pytest)
    find "$build" -name '*.gcda' -delete
    remove build/coverage/python-data
    mkdir -p build/coverage/python-data
fi

status=0
"$venv/bin/python" "${runner[@]}" "$@" || status=$?

for report in "$reports"/*; do
    [ -e "$report" ] || continue
    say "---- $report"
    head -n 100 "$report" >&2
    status=1
done
exit "$status"
