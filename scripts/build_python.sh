#!/usr/bin/env bash
# Builds a free-threaded CPython 3.13 from Debian's source package, into the cache: build_python.sh [KIND]
#
#   plain   optimized, by gcc: what everything runs on if nothing better is found (default)
#   debug   --with-pydebug: counts all references, checks its own invariants
#   tsan    by clang with ThreadSanitizer
#   asan    by clang with AddressSanitizer, its own allocator included (see configure_kind)
#
# The result is $TONIO_CACHE/python3.13t, or python3.13t-KIND beside it. It is built and tried in a
# temporary folder beside it and moved there by one rename, under a lock: the folder is whole or it does
# not exist, whenever this script is interrupted. Nothing of the system's package lists is changed: apt
# works on lists of its own. Only the compilers and the libraries' header files are installed on the
# system.
#
# Ends with status 3 where apt has no source of Debian's own archive.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kind=${1:-plain}
prefix=$(interpreter_prefix "$kind")
program=$(interpreter_program "$kind")
logs=$TONIO_CACHE/logs/python-$kind

build_packages="gcc libc6-dev make xz-utils pkg-config ca-certificates libbz2-dev libffi-dev liblzma-dev
    libreadline-dev libsqlite3-dev libssl-dev uuid-dev zlib1g-dev"
# Needed later by the project itself; all in one go is faster.
project_packages="libcmocka-dev curl"

mkdir -p "$logs"
touch "$TONIO_CACHE/lock"
with_lock 9 "$TONIO_CACHE/lock" "builds Python"
if [ -x "$program" ]; then
    exit 0 # the other run has built it
fi

# Whoever left these behind is gone: it would hold the lock.
remove "$TONIO_CACHE"/build.?????? "$prefix"
work=$(mktemp -d "$TONIO_CACHE/build.XXXXXX")
trap 'remove "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- Debian's archive, as this machine knows it -------------------------------------------------

mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
private_apt=(-o "Dir::State::lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache"
    -o Acquire::Languages=none -o Acquire::Retries=3)
if [ "$(id -u)" = 0 ]; then
    # The cache may be in a place that apt's own user cannot reach.
    private_apt+=(-o APT::Sandbox::User=root)
fi

# Fetches what the machine's sources say about themselves, but none of their lists of packages.
fetch_releases() {
    apt-get "${private_apt[@]}" -o Acquire::IndexTargets::deb::Packages::DefaultEnabled=false \
        -o Acquire::IndexTargets::deb-src::Sources::DefaultEnabled=false update || true
}
step "asking apt where Debian's archive is" "$logs/releases" "" fetch_releases

# Prints "URI|keyring" of Debian's archive. It is known by the label in its signed release file, so
# third parties do not count, nor does the security archive.
find_archive() {
    local release target uri keyring
    grep -lxF 'Origin: Debian' "$work"/apt/lists/*Release | xargs -r grep -lxF 'Label: Debian' |
        while read -r release; do
            # shellcheck disable=SC2016
            apt-get "${private_apt[@]}" indextargets --no-release-info \
                --format '$(FILENAME)|$(REPO_URI)|$(SIGNED_BY)' |
                while IFS='|' read -r target uri keyring; do
                    case $target in
                    "${release%InRelease}"* | "${release%Release}"*) echo "$uri|$keyring" ;;
                    esac
                done
        done | head -n 1
}
archive=$(find_archive 2>>"$logs/releases" || true)
if [ -z "$archive" ]; then
    say "apt has no working source of Debian's archive on this system"
    exit 3
fi
IFS='|' read -r uri keyring <<<"$archive"
case $keyring in
/*) ;; # none is named, or the key itself is
*) keyring=/usr/share/keyrings/debian-archive-keyring.gpg ;;
esac
signed_by=""
[ ! -r "$keyring" ] || signed_by="[signed-by=$keyring] "

# ---- the source ---------------------------------------------------------------------------------

# shellcheck disable=SC2086
install_packages $build_packages $project_packages
case $kind in
tsan | asan) install_clang ;;
esac

private_apt+=(-o "Dir::Etc::sourcelist=$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null)
download() {
    local suite=$1
    printf 'deb-src %s%s %s main\n' "$signed_by" "$uri" "$suite" >"$work/apt/sources.list"
    apt-get "${private_apt[@]}" -q update &&
        cd "$work" &&
        apt-get "${private_apt[@]}" -q source --download-only "python3.13/$suite"
}
download_any() {
    (download forky) || (download trixie)
}
step "downloading the source of Python 3.13 from $uri" "$logs/download" "" download_any

mkdir "$work/source" "$work/root"
tar -C "$work/source" --strip-components=1 -xf "$work"/python3.13_*.orig.tar.xz
rm "$work"/python3.13_*

# ---- the build ----------------------------------------------------------------------------------

# What is compiled how. Under AddressSanitizer the memory of raw allocations (PyMem_RawMalloc, malloc) is
# the sanitizer's own. Objects must be mimalloc's, since the collector finds them through it; built with
# MI_TRACK_ASAN it tells the sanitizer which of its blocks are in use, with a forbidden word behind each.
configure_kind() {
    case $kind in
    plain) ./configure "$@" CC=gcc OPT="-DNDEBUG -g -O3 -Wall" ;;
    debug) ./configure "$@" --with-pydebug CC=gcc ;;
    tsan) ./configure "$@" --with-thread-sanitizer CC="$CLANG" OPT="-DNDEBUG -g -O2 -Wall" ;;
    asan)
        ./configure "$@" --with-address-sanitizer CC="$CLANG" CFLAGS=-DMI_TRACK_ASAN=1 \
            OPT="-DNDEBUG -g -O1 -Wall"
        ;;
    esac
}
jobs=$(getconf _NPROCESSORS_ONLN)
unset CC CFLAGS CPPFLAGS LDFLAGS
hush_sanitizers # the interpreter runs in the middle of its own build
cd "$work/source"
# For the progress: how many checks and how many compiler runs it is.
step "configuring Python 3.13t ($kind)" "$logs/configure" "770 ^checking" configure_kind \
    --disable-gil --prefix="$prefix" --with-ensurepip=no --disable-test-modules
step "compiling Python 3.13t ($kind) with $jobs jobs (some minutes)" "$logs/make" "283  -c " make -j "$jobs"
step "installing Python 3.13t ($kind)" "$logs/install" "" make install DESTDIR="$work/root"

# Part of the interpreter's own tests, against which ours can be held (make test-conformance).
tests="$work/root$prefix/share/cpython-tests/test"
mkdir -p "$tests"
cp -r "$work/source/Lib/test/__init__.py" "$work/source/Lib/test/support" \
    "$work/source/Lib/test/test_socket.py" "$tests"
# Its authors' list of races that are its own.
cp "$work/source/Tools/tsan/suppressions_free_threading.txt" "$work/root$prefix/share/"

# ---- proof and publication ----------------------------------------------------------------------

prove() {
    "$1$program" -I -c '
import ctypes, lzma, bz2, readline, sqlite3, ssl, sys, sysconfig, uuid, zlib
assert sysconfig.get_config_var("Py_GIL_DISABLED") == 1, "not free-threaded"
assert sys.prefix == sys.argv[1], sys.prefix
print(sys.version, ssl.OPENSSL_VERSION)
' "$1$prefix"
}
step "trying Python 3.13t ($kind)" "$logs/proof" "" prove "$work/root"
mv -T "$work/root$prefix" "$prefix"
prove "" >"$logs/proof"
say "Python $("$program" -c 'import platform; print(platform.python_version())')t" \
    "is in $prefix"
