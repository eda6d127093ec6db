#!/usr/bin/env bash
# Prints the path of a free-threaded CPython >= 3.13 that can build extensions; finds it in this order:
#
#   1. $TONIO_PYTHON: if it is set, it must do, nothing else is looked at
#   2. python3.15t, python3.14t, python3.13t on PATH
#   3. one that uv has, or else can install
#   4. the cache: ${TONIO_CACHE:-${XDG_CACHE_HOME:-~/.cache}/tonio}
#   5. one built from Debian's sources into the cache (build_python.sh)
#
# Where none of that is possible it prints the command that installs one, and fails.
#
# find_python.sh KIND, with debug, tsan or asan, is about interpreters that only build_python.sh makes: it looks
# at 4 and 5 alone.
set -euo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$scripts/common.sh"

kind=${1:-plain}
versions="3.15t 3.14t 3.13t"

# Without this checkout's own environment, which may be activated, and with the place where uv and pipx
# put programs.
PATH=:$PATH:
PATH=${PATH//:"${scripts%/*}"\/.venv\/bin:/:}
PATH=${PATH#:}$HOME/.local/bin

# Prints "good", or why an interpreter does not do.
judge() {
    local verdict
    verdict=$("$1" -I - 2>&1 <<'PYTHON'
import importlib, os, sys, sysconfig

def judge():
    if sys.implementation.name != "cpython" or sys.version_info < (3, 13):
        return f"is {sys.implementation.name} {sys.version.split()[0]}, not CPython >= 3.13"
    if sysconfig.get_config_var("Py_GIL_DISABLED") != 1:
        return f"is a Python {sys.version.split()[0]} with the GIL, not a free-threaded one"
    for name in ("venv", "ensurepip", "ssl", "ctypes", "sqlite3", "zlib"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            return f"cannot import {name}: {error}"
    if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        return "comes without its header files (Python.h)"
    return "good"

print(judge())
PYTHON
    ) || verdict="does not run"
    tail -n 1 <<<"${verdict:-is no Python}"
}

# Prints the path and ends the script if this interpreter does.
try_python() {
    local path=$1 verdict
    verdict=$(judge "$path")
    if [ "$verdict" = good ]; then
        say "using $path"
        echo "$path"
        exit 0
    fi
    say "not using $path: it $verdict"
}

look_everywhere() {
    local path verdict version
    if [ -n "${TONIO_PYTHON:-}" ]; then
        path=$(program_path "$TONIO_PYTHON") || fail "TONIO_PYTHON is $TONIO_PYTHON, which is no program"
        verdict=$(judge "$path")
        [ "$verdict" = good ] || fail "TONIO_PYTHON is $TONIO_PYTHON, but that $verdict"
        say "using $path (TONIO_PYTHON)"
        echo "$path"
        exit 0
    fi

    for version in $versions; do
        if path=$(command -v "python$version"); then
            try_python "$path"
        fi
    done

    if have uv; then
        # From the root folder, because uv would also look at the environment of this checkout.
        for version in $versions; do
            if path=$(cd / && uv python find "$version" 2>/dev/null); then
                try_python "$path"
            fi
        done
        say "asking uv to install Python 3.14t"
        if (cd / && uv python install 3.14t >&2) && path=$(cd / && uv python find 3.14t); then
            try_python "$path"
        fi
    fi
}

if [ "$kind" = plain ]; then
    look_everywhere
else
    hush_sanitizers
fi

path=$(interpreter_program "$kind")
if [ -x "$path" ]; then
    try_python "$path"
fi

if is_debian_like; then
    status=0
    "$scripts/build_python.sh" "$kind" || status=$?
    case $status in
    0) try_python "$path" ;;
    3) ;; # not possible here
    *) exit "$status" ;;
    esac
fi

[ "$kind" = plain ] || fail "only Debian's sources give an interpreter of the kind $kind"
say "no free-threaded Python was found or could be built. This command installs one:"
say ""
say "    $(install_command)"
say ""
say "Then run make again. (TONIO_PYTHON=/path/to/python3.14t names one that is elsewhere.)"
exit 1
