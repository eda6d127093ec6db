#!/usr/bin/env bash
# Brings the extension up to date in build/python: build.sh [debug|release]
# With `faults` it makes another one instead, in build/faults, for tests/faults; with `faults-coverage`
# one in build/coverage/faults that counts its lines as well.
#
# Importing tonio does the same, but there a compile error is a note on an ImportError. With an argument
# the kind of build is changed first, for this and all later builds.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/common.sh"
cd "$root"

scripts/bootstrap.sh project
PATH=$root/.venv/bin:$PATH
case ${1:-} in
"") ;;
debug) meson configure build/python -Dbuildtype=debug -Dchecks=true ;;
release) meson configure build/python -Dbuildtype=release -Ddebug=true -Dchecks=false ;;
faults | faults-coverage)
    build=build/faults
    options=(-Dfaults=true -Dchecks=true -Dbuildtype=debugoptimized)
    if [ "$1" = faults-coverage ]; then
        build=build/coverage/faults
        options=(-Dfaults=true -Dbuildtype=debug -Db_coverage=true -Dc_args=-fprofile-update=atomic)
    fi
    if [ ! -e "$build/build.ninja" ]; then
        remove "$build"
        mkdir -p build/coverage
        meson setup "$build" "${options[@]}" >"$build.log" 2>&1 || {
            cat "$build.log" >&2
            fail "setting up $build failed"
        }
    fi
    exec ninja -C "$build" --quiet
    ;;
*) fail "usage: build.sh [debug|release|faults|faults-coverage]" ;;
esac
exec ninja -C build/python --quiet
