"""Looking names up: `getaddrinfo`, `getnameinfo`, and addresses with a host name.

Some tests need a name server that does not answer. It is made of a library that is loaded before
the C library: for names that end in `.slow.test` its `getaddrinfo` takes its time.
"""

import os
import shutil
import socket as stdlib_socket
import subprocess
import textwrap
import threading
from pathlib import Path

import pytest
from helpers import PROGRAM_SECONDS
from notation import both, translate
from sockets import tcp_listener, udp

import tonio.colored as tonio
from tonio.colored.net import socket
from tonio.exceptions import ResourceClosed

# --- the functions ----------------------------------------------------------------------------


@both
async def test_getaddrinfo_gives_what_the_standard_function_gives() -> None:
    for arguments in (
        ("localhost", 80),
        ("localhost", "http"),
        ("127.0.0.1", None, socket.AF_INET, socket.SOCK_STREAM),
        (None, 0, 0, socket.SOCK_DGRAM, 0, socket.AI_PASSIVE),
        ("::1", b"443", socket.AF_INET6, 0, socket.IPPROTO_TCP),
        (b"localhost", 1, 0, 0, 0, socket.AI_CANONNAME),
        (
            "fe80::1%lo",
            80,
            socket.AF_INET6,
            socket.SOCK_STREAM,
        ),  # the scope is a number, not a name
    ):
        expected = stdlib_socket.getaddrinfo(*arguments)
        found = await socket.getaddrinfo(*arguments)
        assert sorted(map(repr, found)) == sorted(map(repr, expected))
    found = await socket.getaddrinfo(host="localhost", port=1, type=socket.SOCK_STREAM, timeout=10)
    assert all(entry[1] is socket.SOCK_STREAM for entry in found)


@both
async def test_getnameinfo_gives_what_the_standard_function_gives() -> None:
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    for address, flags in (
        (("127.0.0.1", 80), numeric),
        (("127.0.0.1", 80), socket.NI_NUMERICHOST),
        (("::1", 443, 0, 0), numeric),
        (("::1", 443), numeric),
    ):
        assert await socket.getnameinfo(address, flags) == stdlib_socket.getnameinfo(address, flags)


@both
async def test_unknown_names() -> None:
    with pytest.raises(socket.gaierror):
        await socket.getaddrinfo("does.not.exist.invalid", 80)
    with pytest.raises(socket.gaierror) as caught:
        await socket.getaddrinfo("127.0.0.1", "no such service")
    assert caught.value.errno == socket.EAI_SERVICE
    with pytest.raises(socket.gaierror):
        await socket.getaddrinfo(None, None)
    with socket.socket() as sock:
        for call in (sock.connect, sock.bind):
            with pytest.raises(socket.gaierror):
                await call(("does.not.exist.invalid", 80))
        with pytest.raises(socket.gaierror):
            await sock.connect_ex(("does.not.exist.invalid", 80))


@both
async def test_wrong_arguments() -> None:
    for wrong in (
        lambda: socket.getaddrinfo(),
        lambda: socket.getaddrinfo("localhost"),
        lambda: socket.getaddrinfo(5, 80),
        lambda: socket.getaddrinfo("localhost", 1.5),
        lambda: socket.getaddrinfo("a\0b", 80),
        lambda: socket.getaddrinfo("localhost", 80, "AF_INET"),
        lambda: socket.getaddrinfo("localhost", 80, 0, 0, 0, 0, 5),
        lambda: socket.getnameinfo("127.0.0.1", 0),
        lambda: socket.getnameinfo((5, 80), 0),
        lambda: socket.getnameinfo(("127.0.0.1", 80), "0"),
        lambda: socket.getaddrinfo("localhost", 80, timeout="1"),
    ):
        with pytest.raises(TypeError):
            await wrong()
    with pytest.raises(ValueError):
        socket.getaddrinfo("localhost", 80, timeout=-1)
    with pytest.raises(UnicodeError):
        socket.getaddrinfo("\u00fc" * 100, 80)
    with pytest.raises(OverflowError):
        socket.getnameinfo(("127.0.0.1", 65536), 0)
    for no_number in ("localhost", "", "<broadcast>"):
        with pytest.raises(socket.gaierror):
            await socket.getnameinfo((no_number, 80), 0)


@both
async def test_many_lookups_at_once() -> None:
    async def look(number: int) -> int:
        found = await socket.getaddrinfo("localhost", number, socket.AF_INET, socket.SOCK_STREAM)
        return found[0][4][1]

    assert await tonio.map(look, range(200)) == list(range(200))


# --- addresses --------------------------------------------------------------------------------


@both
async def test_names_in_addresses() -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await listener.bind(("localhost", 0))
        listener.listen()
        assert listener.getsockname()[0] == "127.0.0.1"
        await client.connect(("localhost", listener.getsockname()[1]), timeout=10)
        server, _ = await listener.accept()
        server.close()
    with await udp() as left, await udp() as right:
        port = right.getsockname()[1]
        await left.sendto(b"by name", ("localhost", port))
        assert await right.recv(10) == b"by name"
        await left.sendmsg([b"this, too"], [], 0, ("localhost", port))
        assert await right.recv(10) == b"this, too"


@both
async def test_numbers_in_rarer_forms_need_no_lookup() -> None:
    """They are read at once: a wrong one is told when the operation is made."""
    with tcp_listener() as listener:
        port = listener.getsockname()[1]
        for host in ("127.1", "127.0.0.1", b"127.0.0.1", bytearray(b"127.0.0.1"), "0x7f000001"):
            with socket.socket() as client:
                await client.connect((host, port))
                assert client.getpeername() == ("127.0.0.1", port)
    with await udp() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        await sock.connect(("<broadcast>", 9))
        assert sock.getpeername() == ("255.255.255.255", 9)


@both
async def test_lookups_do_not_stand_behind_blocking_jobs() -> None:
    """Every thread of the pool is busy, and jobs are queued; names are found all the same."""
    release = threading.Event()
    jobs = [tonio.spawn_blocking(release.wait, 20) for _ in range(200)]
    try:
        found = await socket.getaddrinfo("localhost", 80, socket.AF_INET, timeout=10)
        assert found[0][4] == ("127.0.0.1", 80)
        with tcp_listener() as listener, socket.socket() as client:
            await client.connect(("localhost", listener.getsockname()[1]), timeout=10)
    finally:
        release.set()
    for job in jobs:
        assert await job is True


# --- a name server that does not answer -------------------------------------------------------

SLOW_RESOLVER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    const char *end = host ? strstr(host, ".slow.test") : NULL;
    if (end == NULL) {
        return real(host, service, hints, found);
    }
    if (hints->ai_flags & AI_NUMERICHOST) {
        return EAI_NONAME;
    }
    double seconds = atof(host); /* 0.05.slow.test */
    struct timespec wait = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&wait, NULL);
    return real("127.0.0.1", service, hints, found);
}
"""


@pytest.fixture(scope="module")
def slow_resolver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = os.environ.get("CC", "cc").split()
    if shutil.which(compiler[0]) is None:
        pytest.skip("no C compiler here")
    folder = tmp_path_factory.mktemp("resolver")
    source, library = folder / "slow.c", folder / "slow.so"
    source.write_text(SLOW_RESOLVER)
    options = ["-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run([*compiler, *options], check=True)
    return library


def run_with(library: Path, source: str, notation: str) -> str:
    """Runs a program, in which `names` are slow, to its end: its output."""
    import sys

    done = subprocess.run(
        [sys.executable, "-P", "-c", translate(textwrap.dedent(source), notation)],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


PROGRAM = """
    import sys, time
    import tonio.colored as tonio
    from tonio.colored.net import socket
    from tonio.exceptions import ResourceClosed, TaskCancelled

    async def outcome(operation):
        try:
            return await operation
        except BaseExceptionGroup as group:
            return type(group.exceptions[0]).__name__
        except Exception as error:
            return type(error).__name__

    {body}

    begun = time.monotonic()
    tonio.run(program(), threads={threads})
    assert time.monotonic() - begun < {limit}, "it waited for the name server"
"""


def program(body: str, threads: int) -> str:
    body = textwrap.indent(textwrap.dedent(body), "    ").strip()
    return (
        textwrap.dedent(PROGRAM)
        .replace("{body}", textwrap.dedent("    " + body))
        .replace("{threads}", str(threads))
        .replace("{limit}", str(PROGRAM_SECONDS / 5))
    )


@both
def test_slow_name_is_waited_for(slow_resolver: Path, notation: str, threads: int) -> None:
    source = program(
        """
        async def program():
            with socket.socket() as listener, socket.socket() as client:
                await listener.bind(("0.05.slow.test", 0))
                listener.listen()
                print(listener.getsockname()[0])
                await client.connect(("0.05.slow.test", listener.getsockname()[1]))
                print(client.getpeername() == listener.getsockname())
        """,
        threads,
    )
    assert run_with(slow_resolver, source, notation) == "127.0.0.1\nTrue\n"


@both
def test_nobody_waits_for_a_name_server_that_does_not_answer(
    slow_resolver: Path, notation: str, threads: int
) -> None:
    """Late, cancelled and closed ones go on at once; the run ends, and so does the process."""
    source = program(
        """
        async def program():
            slow = ("15.slow.test", 80)
            print(await outcome(socket.getaddrinfo(*slow, timeout=0.01)))
            with socket.socket() as sock:
                print(await outcome(sock.connect(slow, timeout=0.01)))
                print(await tonio.time.timeout(sock.connect(slow), 0.01))
                join = tonio.spawn(sock.connect(slow))
                await tonio.sleep(0.01)
                join.cancel()
                print(await outcome(join))
                join = tonio.spawn(sock.connect(slow))
                await tonio.sleep(0.01)
                sock.close()
                print(await outcome(join))
            left_behind = socket.socket()
            tonio.spawn.without_tracking(outcome(left_behind.bind(slow)))
            await tonio.sleep(0.01)
            left_behind.close()
        """,
        threads,
    )
    expected = "TimeoutError\nTimeoutError\n(None, False)\nTaskCancelled\nResourceClosed\n"
    assert run_with(slow_resolver, source, notation) == expected


@both
def test_more_slow_names_than_threads(slow_resolver: Path, notation: str, threads: int) -> None:
    source = program(
        """
        async def look(number):
            found = await socket.getaddrinfo("0.02.slow.test", number, type=socket.SOCK_STREAM)
            return found[0][4][1]

        async def program():
            print(await tonio.map(look, range(100)) == list(range(100)))
            late = [
                tonio.spawn(outcome(socket.getaddrinfo("10.slow.test", 1, timeout=0.05)))
                for _ in range(100)
            ]
            for join in late:
                assert await join == "TimeoutError"
        """,
        threads,
    )
    assert run_with(slow_resolver, source, notation) == "True\n"


@both
async def test_closing_races_with_looking_up() -> None:
    """Each ends once, connected, refused or closed."""

    async def connect(sock: socket.socket) -> str:
        try:
            await sock.connect(("localhost", 1))
        except ResourceClosed:
            return "closed"
        except ConnectionRefusedError:
            return "refused"
        return "connected"

    ended = []
    for number in range(200):
        sock = socket.socket()
        join = tonio.spawn(connect(sock))
        for _ in range(number % 4):
            await tonio.yield_now()
        sock.close()
        ended.append(await join)
    assert set(ended) <= {"closed", "refused"}
