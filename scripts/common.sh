# What the scripts of this folder share: messages, progress, root rights, system packages.
# shellcheck shell=bash
#
# To be sourced. Messages go to standard error, so that a script's result can be its output. The
# output of long commands goes to a log, and is shown when the command fails.

# What make or the user's shell may have set and what must not leak into the builds.
unset MAKEFLAGS MAKELEVEL MFLAGS PYTHONHOME PYTHONPATH VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

TONIO_CACHE=${TONIO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tonio}

say() {
    printf '%s\n' "tonio: $*" >&2
}

fail() {
    say "error: $*"
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# The absolute path of a program that is named by a path or found on PATH; fails if there is none.
program_path() {
    local path
    path=$(command -v "$1") || return 1
    case $path in
    /*) echo "$path" ;;
    *) echo "$PWD/$path" ;;
    esac
}

# Removes whole trees, also while an orphan of a killed run still writes into them.
remove() {
    rm -rf "$@" 2>/dev/null || { sleep 1; rm -rf "$@"; }
}

# with_lock FD PATH WHAT: waits until no other run holds PATH (a file or a folder). The lock ends
# with this script. Commands that may outlive it must not inherit FD: step sees to that.
with_lock() {
    local fd=$1 what=$3
    have flock || return 0
    eval "exec $fd<\"\$2\""
    if ! flock -n "$fd"; then
        say "waiting for another run that $what"
        flock "$fd"
    fi
}

# show_progress LOG LABEL EXPECTED: shows, while this script lives, the elapsed time and how far LOG has
# come. EXPECTED is "TOTAL PATTERN", the number of lines with that pattern when all is done, or "".
# A terminal gets a line that is written anew every second, everything else one in twenty seconds.
show_progress() {
    local log=$1 label=$2 total=${3%% *} pattern=${3#* } start=$SECONDS percent text
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        text="$((SECONDS - start)) s"
        if [ -n "$total" ]; then
            percent=$(($(grep -c -e "$pattern" "$log") * 100 / total))
            text="$((percent < 99 ? percent : 99)) %, $text"
        fi
        if [ -t 2 ]; then
            printf '\r\033[Ktonio: %s ... %s' "$label" "$text" >&2
        elif [ $(((SECONDS - start) % 20)) = 0 ]; then
            say "$label ... $text"
        fi
    done
}

# step LABEL LOG EXPECTED COMMAND...: runs COMMAND with its output in LOG and shows progress; when it
# fails, shows the end of LOG and ends the script.
step() {
    local label=$1 log=$2 expected=$3 start=$SECONDS status=0 ticker
    shift 3
    : >"$log"
    if [ -t 2 ]; then
        printf 'tonio: %s ...' "$label" >&2
    else
        say "$label ..."
    fi
    show_progress "$log" "$label" "$expected" 8<&- 9<&- &
    ticker=$!
    "$@" >"$log" 2>&1 </dev/null 8<&- 9<&- || status=$?
    kill "$ticker" 2>/dev/null
    wait "$ticker" 2>/dev/null || true
    [ ! -t 2 ] || printf '\r\033[K' >&2
    if [ "$status" != 0 ]; then
        grep -nE '(^|[^a-z])(error|Error|ERROR|FAILED|E):' "$log" | tail -n 20 >&2 || true
        say "--- the end of $log:"
        tail -n 40 "$log" >&2
        fail "$label: failed with status $status"
    fi
    say "$label: done in $((SECONDS - start)) s"
}

# ---- kinds of interpreter ------------------------------------------------------------------------

# Debian has this version of clang in all the releases that have a source of Python 3.13; the runtimes of its
# sanitizers and the program that puts names into their reports are packages of their own.
CLANG=clang-19

install_clang() {
    install_packages "$CLANG" "lib${CLANG/-/-rt-}-dev" "${CLANG/clang/llvm}"
    have "$CLANG" || fail "$CLANG is missing"
}

# interpreter_prefix KIND: the folder in the cache where build_python.sh puts such an interpreter.
interpreter_prefix() {
    case $1 in
    plain) echo "$TONIO_CACHE/python3.13t" ;;
    debug | tsan | asan) echo "$TONIO_CACHE/python3.13t-$1" ;;
    *) fail "there is no interpreter of the kind $1 (plain, debug, tsan, asan)" ;;
    esac
}

# interpreter_program KIND: its path.
interpreter_program() {
    case $1 in
    debug) echo "$(interpreter_prefix "$1")/bin/python3.13td" ;;
    *) echo "$(interpreter_prefix "$1")/bin/python3.13t" ;;
    esac
}

# kind_settings KIND: how TonIO is built, for which interpreter, and where. Sets
#
#   interpreter    the kind of interpreter
#   venv, build    the virtual environment and the build folder; each kind has its own
#   setup          arguments of meson setup
#   compiler       "" for the usual one
kind_settings() {
    interpreter=$1
    venv=$root/build/$1/venv
    build=$root/build/$1/python
    setup=(-Dwerror=true)
    compiler=""
    case $1 in
    plain)
        venv=$root/.venv
        build=$root/build/python
        ;;
    debug)
        setup+=(-Dbuildtype=debug -Dchecks=true)
        ;;
    coverage)
        interpreter=plain
        setup+=(-Dbuildtype=debug -Db_coverage=true -Dc_args=-fprofile-update=atomic)
        ;;
    tsan)
        # As released: the checks of the invariants would bring synchronisation of their own.
        setup+=(-Dbuildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false)
        compiler=$CLANG
        ;;
    asan)
        setup+=(-Dbuildtype=debugoptimized -Dchecks=true -Db_sanitize=address,undefined -Db_lundef=false)
        compiler=$CLANG
        ;;
    *)
        fail "there is no kind of build $1 (plain, debug, coverage, tsan, asan)"
        ;;
    esac
}

# What a sanitized interpreter finds while it builds itself or installs packages is of no interest.
hush_sanitizers() {
    export ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=report_bugs=0
}

# ---- system packages ----------------------------------------------------------------------------

is_debian_like() {
    have apt-get && have dpkg-query
}

# as_root COMMAND...: by sudo where the user is not root.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

apt_install() {
    local options=(-y -q --no-install-recommends -o DPkg::Lock::Timeout=300)
    # An update may fail for an archive that does not matter here, so only the install counts.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update || sleep 2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@" && return
    # The usual reason: an earlier run was killed in the middle of an installation.
    sleep 2
    as_root env DEBIAN_FRONTEND=noninteractive dpkg --configure -a
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get --fix-broken install "${options[@]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@"
}

# install_packages NAME...: installs those Debian packages that are missing.
install_packages() {
    local name missing=()
    for name in "$@"; do
        case $(dpkg-query -W -f '${Status}' "$name" 2>/dev/null) in
        "install ok installed") ;;
        *) missing+=("$name") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        have sudo || fail "packages are missing; as root, run: apt-get install ${missing[*]}"
        sudo -v || fail "packages are missing; run: sudo apt-get install ${missing[*]}"
    fi
    mkdir -p "$TONIO_CACHE/logs"
    say "system packages that are missing: ${missing[*]}"
    step "installing ${#missing[@]} system packages" "$TONIO_CACHE/logs/packages" "" \
        apt_install "${missing[@]}"
}

# The one command that installs what is needed on a system that is no Debian. Where it is uv that it
# installs, uv is then asked for the interpreter.
install_command() {
    if [ "$(uname -s)" = Darwin ]; then
        echo "brew install python-freethreading cmocka pkgconf"
    elif have dnf; then
        echo "sudo dnf install python3.14-freethreading /usr/include/python3.14t/Python.h" \
            "gcc make pkgconf-pkg-config libcmocka-devel curl"
    elif have pacman; then
        echo "sudo pacman -S --needed uv base-devel cmocka curl"
    elif have zypper; then
        echo "sudo zypper install python313-nogil-devel gcc make pkgconf libcmocka-devel curl"
    elif have apk; then
        echo "sudo apk add uv build-base linux-headers pkgconf cmocka-dev curl"
    elif have snap; then
        echo "sudo snap install --classic astral-uv"
    elif have apt-get; then
        echo "sudo apt-get install pipx && pipx install uv"
    else
        echo "pipx install uv"
    fi
}
