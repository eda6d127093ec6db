#!/usr/bin/env bash
# Brings the extension up to date in build/python: build.sh [debug|release]
# With `faults` it makes another one instead, in build/faults, for tests/faults.
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
faults)
    if [ ! -e build/faults/build.ninja ]; then
        remove build/faults
        meson setup build/faults -Dfaults=true -Dchecks=true -Dbuildtype=debugoptimized \
            >build/faults.log 2>&1 || {
            cat build/faults.log >&2
            fail "setting up build/faults failed"
        }
    fi
    exec ninja -C build/faults --quiet
    ;;
*) fail "usage: build.sh [debug|release|faults]" ;;
esac
exec ninja -C build/python --quiet
