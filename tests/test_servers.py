"""Listeners, and the servers on top of them."""

import errno
import logging
import os
import socket as stdlib_socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import Unraisables, open_descriptors
from kinds import FACTOR
from notation import both

import tonio.colored as tonio
from tonio.colored import net
from tonio.colored.net import SocketListener, SocketStream, socket
from tonio.exceptions import CancelledError, ResourceBroken, ResourceClosed


async def local_listener(**options: Any) -> SocketListener:
    (listener,) = await net.open_tcp_listeners(0, host="127.0.0.1", **options)
    return listener


async def connect(listener: SocketListener) -> SocketStream:
    host, port = listener.socket.getsockname()
    return await net.open_tcp_stream(host, port)


async def connect_many(listener: SocketListener, count: int) -> list[SocketStream]:
    streams = []
    for _ in range(count):
        streams.append(await connect(listener))
    return streams


async def echo(stream: SocketStream) -> None:
    async for piece in stream:
        await stream.send_all(piece)


async def served(listener: SocketListener, data: bytes = b"still there") -> bool:
    """Does the server echo?"""
    with await connect(listener) as stream:
        await stream.send_all(data)
        return (await stream.receive_exactly(len(data), timeout=5)) == data


# --- serving


@both
async def test_connections_are_served_at_the_same_time() -> None:
    listener = await local_listener()
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(echo, [listener]))
        streams = await connect_many(listener, 20)
        for number, stream in enumerate(reversed(streams)):
            await stream.send_all(b"%d" % number)
            assert await stream.receive_some() == b"%d" % number
        for stream in streams:
            stream.send_eof()
            assert await stream.receive_some() == b""
            stream.close()
        scope.cancel()
    with pytest.raises(ResourceClosed):
        await listener.accept()


@both
async def test_serve_tcp_and_unix_in_one(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with stdlib_socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def connected(opening: Callable[[], Any]) -> SocketStream:
        while True:
            try:
                return await opening()
            except (FileNotFoundError, ConnectionRefusedError):
                await tonio.yield_now()

    async with tonio.scope() as scope:
        scope.spawn(net.serve_tcp(echo, port, host="127.0.0.1"))
        scope.spawn(net.serve_unix(echo, path, mode=0o600))
        for opening in (
            lambda: net.open_tcp_stream("127.0.0.1", port),
            lambda: net.open_unix_socket(path),
        ):
            with await connected(opening) as stream:
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"hello"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        scope.cancel()
    assert not path.exists()


@both
async def test_a_failing_handler_is_reported_and_the_server_goes_on(
    unraisables: Unraisables,
) -> None:
    async def handler(stream: SocketStream) -> None:
        command = await stream.receive_some()
        if command == b"raise":
            raise ValueError("of the handler")
        if command == b"close":
            stream.close()
            return
        if command == b"closed":
            stream.close()
            await stream.send_all(b"")
        await stream.send_all(command)

    listener = await local_listener()
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(handler, [listener]))
        for command in (b"raise", b"close", b"closed"):
            with await connect(listener) as stream:
                await stream.send_all(command)
                assert await stream.receive_some(timeout=5) == b""
        assert await served(listener)
        scope.cancel()
    reports = unraisables.take()
    assert {report.type for report in reports} == {ValueError, ResourceClosed}
    assert len(reports) == 2
    assert "in the handler" in reports[0].where


@both
async def test_a_handler_that_is_no_coroutine_is_reported(unraisables: Unraisables) -> None:
    listener = await local_listener()
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(lambda _: None, [listener]))
        with await connect(listener) as stream:
            assert await stream.receive_some(timeout=5) == b""
        scope.cancel()
    (report,) = unraisables.take()
    assert report.type is TypeError
    assert "must return a coroutine" in report.message


@both
async def test_cancelling_ends_handlers_at_once_without_grace() -> None:
    cancelled: list[bool] = []

    async def handler(stream: SocketStream) -> None:
        try:
            await stream.send_all(b"ready")
            await stream.receive_some()
        except CancelledError:
            cancelled.append(True)
            raise

    listener = await local_listener()
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(handler, [listener]))
        stream = await connect(listener)
        assert await stream.receive_some() == b"ready"
        scope.cancel()
    with stream:
        assert cancelled == [True]
        assert await stream.receive_some(timeout=5) == b""


@both
async def test_a_drain_lets_handlers_finish() -> None:
    event = tonio.Event()

    async def handler(stream: SocketStream) -> None:
        await stream.send_all(b"ready")
        await event.wait()
        await stream.send_all(b"done")

    listener = await local_listener()
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(handler, [listener], grace=30))
        streams = await connect_many(listener, 5)
        for stream in streams:
            assert await stream.receive_some() == b"ready"
        # These are in the system's queue, or will be accepted just now: they are served, too.
        late = await connect_many(listener, 5)
        scope.cancel()
        event.set()
    for stream in streams:
        assert await stream.receive_some(timeout=5) == b"done"
        stream.close()
    for stream in late:
        assert await stream.receive_exactly(9, timeout=5) == b"readydone"
        stream.close()
    with pytest.raises(ResourceClosed):
        await listener.accept()


@both
async def test_a_drain_ends_with_its_grace() -> None:
    async def handler(stream: SocketStream) -> None:
        await stream.send_all(b"ready")
        await stream.receive_some()

    listener = await local_listener()
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(handler, [listener], grace=0.05))
        stream = await connect(listener)
        assert await stream.receive_some() == b"ready"
        scope.cancel()
    with stream:
        assert await stream.receive_some(timeout=5) == b""


@both
async def test_no_more_connections_than_allowed() -> None:
    now: list[int] = []
    most: list[int] = [0]
    lock = tonio.sync.Lock()

    async def handler(stream: SocketStream) -> None:
        async with lock():
            now.append(1)
            most[0] = max(most[0], len(now))
        await echo(stream)
        async with lock():
            now.pop()

    listener = await local_listener()
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(handler, [listener], max_connections=3))

        async def client() -> None:
            assert await served(listener)

        async with tonio.scope() as clients:
            for _ in range(30):
                clients.spawn(client())
        scope.cancel()
    assert 1 <= most[0] <= 3


class Exhausted:
    """A listener of a machine that has no descriptors left, for a while."""

    def __init__(self, listener: SocketListener, failures: int, error: int) -> None:
        self.listener = listener
        self.failures = failures
        self.error = error

    async def accept(self, *, timeout: float | None = None) -> SocketStream:
        if self.failures > 0:
            self.failures -= 1
            raise OSError(self.error, os.strerror(self.error))
        return await self.listener.accept(timeout=timeout)

    def close(self) -> None:
        self.listener.close()


@both(threads=[1, 2])
async def test_running_out_of_descriptors_is_logged_and_outlived(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = await local_listener()
    exhausted: Any = Exhausted(listener, 2, errno.EMFILE)
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(echo, [exhausted], max_connections=1))
        assert await served(listener)
        scope.cancel()
    (record,) = [record for record in caplog.records if record.name == "tonio.net"]
    assert record.levelno == logging.WARNING
    assert "Too many open files" in record.getMessage()


@both
async def test_what_accepting_raises_ends_the_server() -> None:
    listener, other = await local_listener(), await local_listener()
    exhausted: Any = Exhausted(listener, 1, errno.EPERM)
    with pytest.raises(PermissionError):
        await net.serve_listeners(echo, [exhausted, other])
    for closed in (listener, other):
        with pytest.raises(ResourceClosed):
            await closed.accept()


@both
async def test_closing_the_listener_ends_the_server() -> None:
    listener = await local_listener()
    join = tonio.spawn(net.serve_listeners(echo, [listener]))
    assert await served(listener)
    listener.close()
    with pytest.RaisesGroup(ResourceClosed):
        await join


BAD_SERVERS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: net.serve_tcp(echo, -1), ValueError, "port"),
    (lambda: net.serve_tcp(echo, "http"), TypeError, "port"),  # type: ignore[arg-type]
    (lambda: net.serve_tcp(echo, 0, host=5), TypeError, "host"),  # type: ignore[arg-type]
    (lambda: net.serve_tcp(echo, 0, backlog=0), ValueError, "backlog"),
    (lambda: net.serve_tcp(echo, 0, backlog="x"), TypeError, "backlog"),  # type: ignore[arg-type]
    (lambda: net.serve_unix(echo, "x", mode="rw"), TypeError, "mode"),  # type: ignore[arg-type]
    (lambda: net.serve_listeners(echo, []), ValueError, "listeners"),
    (lambda: net.serve_listeners(5, [None]), TypeError, "handler"),  # type: ignore[arg-type,list-item]
    (lambda: net.serve_listeners(echo, [None], grace=-1), ValueError, "grace"),  # type: ignore[list-item]
    (
        lambda: net.serve_listeners(echo, [None], max_connections=0),  # type: ignore[list-item]
        ValueError,
        "max_connections",
    ),
    (
        lambda: net.serve_listeners(echo, [None], max_connections="9"),  # type: ignore[list-item,arg-type]
        TypeError,
        "max_connections",
    ),
]


@pytest.mark.filterwarnings("ignore:operation was never yielded")
@pytest.mark.parametrize(("call", "error", "words"), BAD_SERVERS)
def test_bad_arguments(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


# --- listeners


@both
async def test_all_families_get_the_same_port() -> None:
    listeners = await net.open_tcp_listeners(0)
    try:
        assert len({listener.socket.getsockname()[1] for listener in listeners}) == 1
        assert "SocketListener" in repr(listeners[0])
    finally:
        for listener in listeners:
            listener.close()


@both
async def test_a_port_in_use_is_an_error_unless_it_is_shared() -> None:
    with await local_listener() as listener:
        port = listener.socket.getsockname()[1]
        before = len(open_descriptors())
        with pytest.raises(OSError, match="in use") as caught:
            await net.open_tcp_listeners(port, host="127.0.0.1")
        assert caught.value.errno == errno.EADDRINUSE
        assert len(open_descriptors()) <= before
    with await local_listener(reuse_port=True) as listener:
        port = listener.socket.getsockname()[1]
        options: dict[str, Any] = {"host": "127.0.0.1", "reuse_port": True}
        for second in await net.open_tcp_listeners(port, **options):
            assert second.socket.getsockname()[1] == port
            second.close()


def test_a_listener_needs_a_listening_socket() -> None:
    with socket.socket() as sock, pytest.raises(ValueError, match=r"listen\(\)"):
        SocketListener(sock)
    with stdlib_socket.socket() as other, pytest.raises(TypeError, match=r"tonio\.net\.socket"):
        SocketListener(other)  # type: ignore[arg-type]


@both
async def test_a_stale_unix_socket_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with stdlib_socket.socket(stdlib_socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    with await net.open_unix_listener(path) as listener:
        with pytest.raises(OSError, match="in use") as caught:
            await net.open_unix_listener(path)
        assert caught.value.errno == errno.EADDRINUSE
        with await listener.accept() as probe:  # that was the question whether somebody listens
            assert await probe.receive_some() == b""
        with await net.open_unix_socket(path) as client:
            accepted = await listener.accept()
            await accepted.send_all(b"hello")
            accepted.close()
            assert await client.receive_some() == b"hello"
    assert not path.exists()


@both
async def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("important")
    with pytest.raises(OSError, match="in use"):
        await net.open_unix_listener(path)
    assert path.read_text() == "important"
    with pytest.raises(FileNotFoundError):
        await net.open_unix_listener(tmp_path / "no" / "such" / "folder")


@both
async def test_a_path_that_somebody_else_has_taken_over_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = await net.open_unix_listener(path)
    path.unlink()
    with await net.open_unix_listener(path) as second:
        first.close()
        assert path.is_socket()
        with await net.open_unix_socket(path):
            (await second.accept()).close()


@both
async def test_abstract_names_have_no_file() -> None:
    name = b"\0tonio-test-" + os.urandom(8).hex().encode()
    with await net.open_unix_listener(name, mode=0o600) as listener:
        with await net.open_unix_socket(name):
            (await listener.accept()).close()


@both
async def test_accept_can_be_late() -> None:
    with await local_listener() as listener:
        with pytest.raises(TimeoutError):
            await listener.accept(timeout=0.01)
        with await connect(listener):
            (await listener.accept(timeout=5)).close()


INHERITS = """
import os, sys, tonio
from tonio import net

def echo(stream):
    data = yield stream.receive_some()
    yield stream.send_all(data)

def program():
    (listener,) = net.inherited_listeners()
    assert net.inherited_listeners() == []
    assert "LISTEN_FDS" not in os.environ
    assert not os.get_inheritable(listener.socket.fileno())
    stream = yield listener.accept()
    with stream:
        yield from echo(stream)
    listener.close()

tonio.run(program())
"""


def run_with_descriptor(source: str, fd: int, environment: dict[str, str]) -> int:
    """The exit status of a program that finds `fd` as its descriptor 3."""
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", source],
        {**os.environ, **environment},
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, 3)],
    )
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_listener_is_inherited() -> None:
    with (
        stdlib_socket.create_server(("127.0.0.1", 0)) as listener,
        stdlib_socket.create_connection(listener.getsockname()) as client,
    ):
        # The connection comes before the process that will serve it.
        client.sendall(b"before you were born")
        assert run_with_descriptor(INHERITS, listener.fileno(), {"LISTEN_FDS": "1"}) == 0
        assert client.recv(100) == b"before you were born"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"LISTEN_FDS": "many"}, "LISTEN_FDS"),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "mine"}, "LISTEN_PID"),
        ({"LISTEN_FDS": "2"}, "Bad file descriptor"),
    ],
)
def test_wrong_inheritances_are_errors(environment: dict[str, str], says: str) -> None:
    source = "from tonio import net; net.inherited_listeners()"
    with stdlib_socket.create_server(("127.0.0.1", 0)):
        done = subprocess.run(
            [sys.executable, "-c", source],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=30 * FACTOR,
            check=False,
        )
    assert done.returncode == 1
    assert says in done.stderr


def test_nothing_is_inherited_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert net.inherited_listeners() == []
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    assert net.inherited_listeners() == []


@both
async def test_a_client_that_resets_does_not_disturb(unraisables: Unraisables) -> None:
    listener = await local_listener()
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(echo, [listener]))
        for _ in range(20):
            stream = await connect(listener)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.send_all(b"x" * 1000)
            stream.close()
        assert await served(listener)
        scope.cancel()
    assert {report.type for report in unraisables.take()} <= {ResourceBroken}
