#!/usr/bin/env bash
# Brings this checkout to where everything in it can be run: bootstrap.sh [tools|project] [KIND]
#
#   tools     a virtual environment in .venv with the build, test and lint tools
#   project   that, and TonIO built in build/python and installed from this checkout (default)
#
# A KIND other than plain has all that in build/KIND, built for an interpreter of its own (see kind_settings).
#
# Each state has a stamp, a file that is written last and holds a key of all that the state depends on.
# A state whose stamp is missing or different is made anew from nothing, so it does not matter where an
# earlier run was interrupted; when all stamps fit, nothing is done and nothing is said. A lock on the
# checkout keeps two runs apart.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/common.sh"
cd "$root"

kind=${2:-plain}
kind_settings "$kind"
tools_stamp=$venv/tools.stamp
project_stamp=$build/project.stamp
logs=$(dirname "$build")
[ "$kind" = plain ] || hush_sanitizers

with_lock 8 "$root" "prepares this checkout"

# ---- the system's part: a compiler, and what the tests use --------------------------------------

system_is_ready() {
    have "${CC:-cc}" && have make && have pkg-config && have curl && pkg-config --exists cmocka
}

prepare_system() {
    [ "$compiler" != "$CLANG" ] || install_clang
    ! system_is_ready || return 0
    is_debian_like || fail "a C compiler, make, pkg-config, cmocka or curl is missing; run: $(install_command)"
    # The last two are for tests that are skipped without them.
    install_packages gcc libc6-dev make pkg-config libcmocka-dev curl netcat-openbsd socat
    system_is_ready || fail "a C compiler (${CC:-cc}), make, pkg-config, cmocka or curl is still missing"
}

# ---- the tools ----------------------------------------------------------------------------------

# tools_key PYTHON: the date notices that an interpreter was replaced by another one.
tools_key() {
    echo "$root $1 $(date -r "$1" +%s 2>/dev/null) $(cksum <requirements-dev.txt)"
}

tools_are_ready() {
    local python
    python=$(sed -n 's/^python //p' "$tools_stamp" 2>/dev/null) && [ -n "$python" ] || return 1
    if [ "$interpreter" = plain ] && [ -n "${TONIO_PYTHON:-}" ] && [ "$(program_path "$TONIO_PYTHON")" != "$python" ]; then
        return 1
    fi
    [ "$(sed -n 's/^key //p' "$tools_stamp")" = "$(tools_key "$python")" ]
}

# The tools that look at sources are needed once only. A slow interpreter compiles just what it imports.
install_tools() {
    local list=requirements-dev.txt options=(--no-deps --only-binary :all: --progress-bar off)
    if [ "$kind" != plain ]; then
        list=$logs/requirements.txt
        options+=(--no-compile)
        sed '/^# lint/,$d' requirements-dev.txt >"$list"
    fi
    "$venv/bin/python" -m pip install "${options[@]}" -r "$list" &&
        "$venv/bin/python" -m pip check
}

prepare_tools() {
    ! tools_are_ready || return 0
    local python
    python=$("$root/scripts/find_python.sh" "$interpreter" 8<&-)
    mkdir -p "$logs"
    remove "$venv" "$build"
    step "making the virtual environment" "$logs/venv.log" "" "$python" -m venv "$venv"
    step "installing the tools of requirements-dev.txt" "$logs/tools.log" "" install_tools
    printf 'python %s\nkey %s\n' "$python" "$(tools_key "$python")" >"$tools_stamp.new"
    mv "$tools_stamp.new" "$tools_stamp"
}

# ---- the project --------------------------------------------------------------------------------

project_key() {
    { cat "$tools_stamp" pyproject.toml meson.options && echo "${setup[@]}" "$compiler"; } | cksum
}

project_is_ready() {
    [ -e "$build/build.ninja" ] && [ "$(cat "$project_stamp" 2>/dev/null)" = "$(project_key)" ]
}

install_project() {
    # On PATH meson-python finds its meson and ninja.
    PATH=$venv/bin:$PATH env ${compiler:+CC="$compiler"} "$venv/bin/python" -m pip install -v \
        --no-deps --no-build-isolation --progress-bar off \
        -Cbuild-dir="$build" "${setup[@]/#/-Csetup-args=}" -e .
}

prepare_project() {
    ! project_is_ready || return 0
    # By hand, since pip stumbles over a distribution that it was killed in the middle of.
    remove "$build" "$venv"/lib/python*/site-packages/{tonio-*,tonio-editable.pth,_tonio_editable_loader.py}
    mkdir -p "$logs"
    step "building TonIO" "$logs/project.log" "" install_project
    project_key >"$project_stamp.new"
    mv "$project_stamp.new" "$project_stamp"
}

case ${1:-project} in
tools)
    prepare_tools
    prepare_system
    ;;
project)
    prepare_tools
    prepare_system
    prepare_project
    ;;
*)
    fail "usage: bootstrap.sh [tools|project]"
    ;;
esac
