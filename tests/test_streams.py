"""`SocketStream` and how one is opened."""

import errno
import socket as stdlib_socket
import struct
import time as stdlib_time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import open_descriptors
from kinds import FACTOR
from notation import both
from sockets import tcp_pair

import tonio.colored as tonio
from tonio._core import delegate
from tonio.colored import net
from tonio.colored.net import SocketStream, socket
from tonio.exceptions import (
    DelimiterNotFound,
    IncompleteRead,
    ResourceBroken,
    ResourceBusy,
    ResourceClosed,
)


def pair() -> tuple[SocketStream, SocketStream]:
    left, right = socket.socketpair()
    return SocketStream(left), SocketStream(right)


async def tcp_streams() -> tuple[SocketStream, SocketStream]:
    left, right = await tcp_pair()
    return SocketStream(left), SocketStream(right)


def reset(stream: SocketStream) -> None:
    """Ends a connection as a crashed machine does."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


async def until_parked(stream: SocketStream) -> None:
    """Until some task receives from the stream: then a second one is refused."""
    while True:
        try:
            await stream.receive_exactly(1_000_000_000, timeout=0)  # never takes anything
        except ResourceBusy:
            return
        except TimeoutError:
            await tonio.yield_now()


# --- receiving


@both
async def test_pieces_go_through_in_order() -> None:
    left, right = pair()
    with left, right:
        await left.send_all(b"hello\nworld\n1234rest")
        assert await right.receive_until(b"\n") == b"hello"
        assert await right.receive_until(b"\n") == b"world"
        assert await right.receive_exactly(4) == b"1234"
        assert await right.receive_some(2) == b"re"
        assert await right.receive_some() == b"st"


@both
async def test_receive_exactly_collects_what_comes_in_pieces() -> None:
    size = 3_000_000
    left, right = pair()

    async def send() -> None:
        block = bytes(range(256)) * 100
        sent = 0
        while sent < size + 5:
            piece = block[: size + 5 - sent]
            await left.send_all(piece)
            sent += len(piece)

    with left, right:
        async with tonio.scope() as scope:
            scope.spawn(send())
            data = await right.receive_exactly(size)
            rest = await right.receive_exactly(5)
        assert len(data) == size
        assert data[:25600] == bytes(range(256)) * 100
        assert (data + rest)[-5:] == rest
        assert await right.receive_exactly(0) == b""


@both
async def test_a_delimiter_that_comes_in_pieces_is_found() -> None:
    left, right = pair()

    async def send() -> None:
        for piece in (b"line", b"\r", b"\n", b"next\r", b"\n\r\n"):
            await until_parked(right)
            await left.send_all(piece)

    with left, right:
        async with tonio.scope() as scope:
            scope.spawn(send())
            lines = [await right.receive_until(b"\r\n")]
            lines.append(await right.receive_until(b"\r\n"))
        assert lines == [b"line", b"next"]
        assert await right.receive_until(b"\r\n") == b""


@both
async def test_what_an_interrupted_receive_has_got_is_not_lost() -> None:
    left, right = pair()
    with left, right:
        await left.send_all(b"begin")
        with pytest.raises(TimeoutError, match="receive_exactly"):
            await right.receive_exactly(10, timeout=0)
        join = tonio.spawn(right.receive_until(b"!"))
        await until_parked(right)
        join.cancel()
        with pytest.raises(Exception, match="cancel"):
            await join
        await left.send_all(b" end!")
        assert await right.receive_until(b"!") == b"begin end"


@both
async def test_a_stream_that_ends_early_says_so_and_keeps_the_rest() -> None:
    left, right = pair()
    with left, right:
        await left.send_all(b"abc")
        left.send_eof()
        with pytest.raises(IncompleteRead, match="after 3 bytes"):
            await right.receive_exactly(4)
        with pytest.raises(IncompleteRead):
            await right.receive_until(b"\n")
        assert await right.receive_some() == b"abc"
        assert await right.receive_some() == b""
        with pytest.raises(IncompleteRead):
            await right.receive_exactly(1)


@both
async def test_a_missing_delimiter_is_reported_and_nothing_lost() -> None:
    left, right = pair()
    with left, right:
        await left.send_all(b"0123456789;")
        with pytest.raises(DelimiterNotFound, match="first 5 bytes"):
            await right.receive_until(b";", 5)
        assert await right.receive_until(b";", 10) == b"0123456789"


@both
async def test_iterating_gives_all_until_the_end() -> None:
    left, right = pair()

    async def send() -> None:
        for _ in range(100):
            await left.send_all(b"x" * 1000)
        left.send_eof()

    with left, right:
        async with tonio.scope() as scope:
            scope.spawn(send())
            size = 0
            async for piece in right:
                size += len(piece)
        assert size == 100_000


# --- who may


@both
async def test_one_reader_and_one_writer() -> None:
    left, right = pair()
    with left, right:
        async with tonio.scope() as scope:
            scope.spawn(right.receive_exactly(3))
            await until_parked(right)
            with pytest.raises(ResourceBusy):
                await right.receive_until(b"x")
            await right.send_all(b"the other way is free")
            await left.send_all(b"abc")
        assert await left.receive_some() == b"the other way is free"


@both
async def test_eof_waits_for_no_sender() -> None:
    left, right = pair()
    with left, right:
        async with tonio.scope() as scope:
            scope.spawn(left.send_all(b"x" * 10_000_000))
            await right.receive_some()
            with pytest.raises(ResourceBusy, match="sending"):
                left.send_eof()
            scope.cancel()
        left.send_eof()
        left.send_eof()
        with pytest.raises(ResourceClosed, match="send_eof"):
            await left.send_all(b"more")


@both
async def test_close_wakes_who_waits() -> None:
    left, right = pair()
    outcomes: list[str] = []

    async def receive(how: str) -> None:
        try:
            await (right.receive_exactly(9) if how == "exactly" else left.receive_some())
        except ResourceClosed:
            outcomes.append(how)

    with left:
        async with tonio.scope() as scope:
            scope.spawn(receive("exactly"))
            await until_parked(right)
            right.close()
        right.close()
        assert outcomes == ["exactly"]
        with pytest.raises(ResourceClosed):
            await right.receive_some()
        with pytest.raises(ResourceClosed):
            await right.send_all(b"x")
        with pytest.raises(ResourceClosed):
            right.send_eof()


@both
async def test_a_peer_that_is_gone_is_one_error_with_its_cause() -> None:
    left, right = await tcp_streams()
    with left, right:
        reset(left)
        with pytest.raises(ResourceBroken, match="reset") as caught:
            await right.receive_exactly(1)
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        with pytest.raises(ResourceBroken) as caught:
            for _ in range(100):
                await right.send_all(b"x" * 100_000)
        assert isinstance(caught.value.__cause__, OSError)


@both
async def test_nodelay_is_set() -> None:
    left, right = await tcp_streams()
    with left, right:
        assert left.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert repr(left) == f"<SocketStream of {left.socket!r}>"


@both(notations=["await"])
async def test_a_stream_is_a_context_manager_of_both_kinds() -> None:
    left, right = pair()
    async with left as same:
        assert same is left
    with right as same:
        assert same is right
    assert left.socket.fileno() == right.socket.fileno() == -1


BAD_CALLS: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("receive_some", (0,), ValueError, "max_bytes"),
    ("receive_some", ("many",), TypeError, "max_bytes"),
    ("receive_exactly", (-1,), ValueError, "nbytes"),
    ("receive_exactly", (1.5,), TypeError, "nbytes"),
    ("receive_exactly", (), TypeError, "receive_exactly"),
    ("receive_until", (b"",), ValueError, "delimiter"),
    ("receive_until", ("\n",), TypeError, "delimiter must be bytes"),
    ("receive_until", (b"\n", 0), ValueError, "max_bytes"),
    ("send_all", ("text",), TypeError, "data must be bytes"),
    ("send_all", (1,), TypeError, "bytes-like"),
]


@pytest.mark.parametrize(("method", "arguments", "error", "words"), BAD_CALLS)
def test_bad_arguments(
    method: str, arguments: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    left, right = pair()
    with left, right, pytest.raises(error, match=words):
        getattr(left, method)(*arguments)


def test_a_stream_needs_a_stream_socket() -> None:
    with stdlib_socket.socket() as other, pytest.raises(TypeError, match=r"tonio\.net\.socket"):
        SocketStream(other)  # type: ignore[arg-type]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        pytest.raises(ValueError, match="SOCK_STREAM"),
    ):
        SocketStream(datagrams)


# --- opening


@contextmanager
def answers(targets: list[tuple[int, Any]], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes every name have these addresses."""

    def found() -> Any:
        if False:
            yield
        return [(family, socket.SOCK_STREAM, 6, "", address) for family, address in targets]

    monkeypatch.setattr("tonio.net._streams.getaddrinfo", lambda *_, **__: delegate(found()))
    yield


@contextmanager
def black_hole() -> Iterator[Any]:
    """An address that does not answer: its queue of connections is full."""
    with stdlib_socket.create_server(("127.0.0.2", 0), backlog=0) as listener:
        fillers = []
        while True:
            filler = stdlib_socket.socket()
            filler.settimeout(0.2)
            fillers.append(filler)
            try:
                filler.connect(listener.getsockname())
            except TimeoutError:
                break
        try:
            yield listener.getsockname()
        finally:
            for filler in fillers:
                filler.close()


def refused() -> Any:
    """An address at which nobody listens."""
    with stdlib_socket.create_server(("127.0.0.3", 0)) as listener:
        return listener.getsockname()


@both
async def test_a_black_hole_costs_the_delay_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(open_descriptors())
    with black_hole() as hole, stdlib_socket.create_server(("127.0.0.1", 0)) as good:
        targets = [(socket.AF_INET, hole), (socket.AF_INET, good.getsockname())]
        with answers(targets, monkeypatch):
            start = stdlib_time.monotonic()
            with await net.open_tcp_stream("name", 1, happy_eyeballs_delay=0.1) as stream:
                took = stdlib_time.monotonic() - start
                assert stream.socket.getpeername() == good.getsockname()
            assert took >= 0.1
            assert took < 2.0 * FACTOR
    assert len(open_descriptors()) <= before + 8, "a loser was left open"


@both
async def test_failures_are_tried_at_once_and_the_last_of_ten_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with stdlib_socket.create_server(("127.0.0.1", 0)) as good:
        targets = [(socket.AF_INET, refused()) for _ in range(9)]
        with answers([*targets, (socket.AF_INET, good.getsockname())], monkeypatch):
            with await net.open_tcp_stream("name", 1, happy_eyeballs_delay=30) as stream:
                assert stream.socket.getpeername() == good.getsockname()


@both
async def test_when_all_fail_each_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = [(socket.AF_INET, refused()), (socket.AF_INET, ("127.0.0.4", 1))]
    with answers(targets, monkeypatch):
        with pytest.raises(
            ConnectionRefusedError, match="all 2 attempts to connect to 'name'"
        ) as e:
            await net.open_tcp_stream("name", 7)
        assert isinstance(e.value.__cause__, ExceptionGroup)
        assert len(e.value.__cause__.exceptions) == 2
    with answers(targets[:1], monkeypatch):
        with pytest.raises(ConnectionRefusedError) as e:
            await net.open_tcp_stream("name", 7)
        assert e.value.errno == errno.ECONNREFUSED
        assert e.value.__cause__ is None


@both
async def test_opening_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole() as hole, answers([(socket.AF_INET, hole)] * 2, monkeypatch):
        stream, in_time = await tonio.time.timeout(net.open_tcp_stream("name", 1), 0.05)
        assert (stream, in_time) == (None, False)


@both
async def test_an_address_to_connect_from() -> None:
    with stdlib_socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with await net.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.9") as stream:
            assert stream.socket.getsockname()[0] == "127.0.0.9"
        with pytest.raises(OSError, match=r"."):
            await net.open_tcp_stream("127.0.0.1", port, local_address="192.0.2.1")


@both
async def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    from tonio.net._streams import _in_turn

    found: list[Any] = [
        (socket.AF_INET6, 1, 6, "", ("::1", 1, 0, 0)),
        (socket.AF_INET6, 1, 6, "", ("::2", 1, 0, 0)),
        (socket.AF_INET6, 1, 6, "", ("::1", 1, 0, 0)),
        (socket.AF_INET, 1, 6, "", ("127.0.0.1", 1)),
    ]
    assert [target[4][0] for target in _in_turn(found)] == ["::1", "127.0.0.1", "::2"]


BAD_OPENINGS: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
    ("localhost", -1, {}, ValueError, "port"),
    ("localhost", 65536, {}, ValueError, "port"),
    ("localhost", "80", {}, TypeError, "port"),
    (None, 80, {}, TypeError, "host"),
    ("", 80, {}, ValueError, "host"),
    ("localhost", 80, {"happy_eyeballs_delay": -1}, ValueError, "happy_eyeballs_delay"),
    ("localhost", 80, {"happy_eyeballs_delay": float("nan")}, ValueError, "happy_eyeballs_delay"),
]


@pytest.mark.parametrize(("host", "port", "options", "error", "words"), BAD_OPENINGS)
def test_bad_openings(
    host: Any, port: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        net.open_tcp_stream(host, port, **options)


@both
async def test_unknown_names_and_paths(tmp_path: Any) -> None:
    with pytest.raises(socket.gaierror):
        await net.open_tcp_stream("no.such.name.invalid", 80)
    with pytest.raises(FileNotFoundError):
        await net.open_unix_socket(tmp_path / "nothing")
    with pytest.raises(TypeError):
        net.open_unix_socket(5)  # type: ignore[arg-type]
