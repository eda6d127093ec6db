"""`tonio.net.socket`: the low-level sockets."""

import errno
import hashlib
import os
import random
import socket as stdlib_socket
import struct
import threading
import time
import warnings
from contextlib import suppress
from itertools import groupby
from typing import Any

import pytest
from helpers import Unraisables, open_descriptors
from notation import both

import tonio.colored as tonio
from tonio.colored.net import socket
from tonio.exceptions import ResourceBusy, ResourceClosed

IPV4 = (socket.AF_INET, "127.0.0.1")
IPV6 = (socket.AF_INET6, "::1")


def has_ipv6() -> bool:
    try:
        with stdlib_socket.socket(stdlib_socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


addresses = pytest.mark.parametrize(
    ("family", "host"),
    [IPV4, pytest.param(*IPV6, marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here"))],
    ids=["IPv4", "IPv6"],
)


async def listen(family: int = socket.AF_INET, host: str = "127.0.0.1") -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    await listener.bind((host, 0))
    listener.listen(512)
    return listener


async def connected(
    family: int = socket.AF_INET, host: str = "127.0.0.1"
) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection."""
    with await listen(family, host) as listener:
        client = socket.socket(family, socket.SOCK_STREAM)
        await client.connect(listener.getsockname())
        server, _ = await listener.accept()
    return client, server


def half_connected() -> tuple[socket.socket, stdlib_socket.socket]:
    """A TCP connection of which only one end is ours; the other blocks, so a foreign thread can
    use it, or whoever knows that it will not wait."""
    with stdlib_socket.create_server(("127.0.0.1", 0)) as listener:
        other = stdlib_socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    return socket.socket(fileno=accepted.detach()), other


async def receive_all(sock: socket.socket, size: int = 65536) -> bytes:
    pieces = []
    while piece := await sock.recv(size):
        pieces.append(piece)
    return b"".join(pieces)


async def receive_exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await sock.recv(count - len(data))
        assert piece
        data += piece
    return data


async def echo(connection: socket.socket) -> None:
    with connection:
        while data := await connection.recv(4096):
            await connection.sendall(data)


async def serve(listener: socket.socket) -> None:
    with suppress(ResourceClosed):
        while True:
            connection, _ = await listener.accept()
            tonio.spawn.without_tracking(echo(connection))


# --- connections ------------------------------------------------------------------------------


@both
async def test_no_time_to_wait_still_finds_what_is_there() -> None:
    """The event may not have been looked at yet: on one thread nobody else would."""
    left, right = socket.socketpair()
    with left, right:
        with pytest.raises(TimeoutError):
            await right.recv(10, timeout=0)
        async with tonio.scope() as scope:
            scope.spawn(right.recv(1))
            await left.send(b"a")
        await left.sendall(b"b")
        assert await right.recv(10, timeout=0) == b"b"


@both
@addresses
async def test_echo(family: int, host: str) -> None:
    with await listen(family, host) as listener, socket.socket(family) as client:
        tonio.spawn.without_tracking(serve(listener))
        await client.connect(listener.getsockname())
        for message in (b"hello", b"x", b"y" * 4000):
            assert await client.send(message) == len(message)
            assert await receive_exactly(client, len(message)) == message
        client.shutdown(socket.SHUT_WR)
        assert await client.recv(10) == b""


@both
@addresses
async def test_addresses(family: int, host: str) -> None:
    with await listen(family, host) as listener, socket.socket(family) as client:
        assert listener.getsockname()[0] == host
        await client.connect(listener.getsockname())
        server, address = await listener.accept()
        with server:
            assert address == client.getsockname() == server.getpeername()
            assert client.getpeername() == server.getsockname() == listener.getsockname()


@both
async def test_names_are_looked_up() -> None:
    with await listen() as listener, socket.socket() as client:
        await client.connect(("localhost", listener.getsockname()[1]))
        server, _ = await listener.accept()
        with server:
            await client.send(b"x")
            assert await server.recv(1) == b"x"
    with socket.socket() as sock:
        await sock.bind(("localhost", 0))
        assert sock.getsockname()[0] == "127.0.0.1"


@both
async def test_kind_of_a_socket() -> None:
    with socket.socket() as sock:
        assert sock.family == socket.AF_INET
        assert sock.type == socket.SOCK_STREAM
        assert sock.proto == 0
        assert sock.fileno() >= 0
        assert os.get_inheritable(sock.fileno()) is False
        assert os.get_blocking(sock.fileno()) is False
        assert str(sock.fileno()) in repr(sock)


def test_constants_and_exceptions_are_those_of_the_standard_library() -> None:
    for name in ("AF_INET6", "SOCK_DGRAM", "SOL_SOCKET", "SHUT_RDWR", "error", "gaierror"):
        assert getattr(socket, name) is getattr(stdlib_socket, name)
    import tonio.net.socket

    assert tonio.net.socket.socket is socket.socket


@both
async def test_many_connections_at_once() -> None:
    async def client(number: int) -> None:
        message = b"%d" % number
        with socket.socket() as sock:
            await sock.connect(address)
            for _ in range(3):
                await sock.sendall(message)
                assert await receive_exactly(sock, len(message)) == message

    with await listen() as listener:
        address = listener.getsockname()
        tonio.spawn.without_tracking(serve(listener))
        await tonio.map(client, range(200))


@both
async def test_acceptors_share_the_connections() -> None:
    count = 40
    accepted: list[Any] = []
    done = tonio.Event()

    async def acceptor(listener: socket.socket) -> None:
        with suppress(ResourceClosed):
            while True:
                connection, address = await listener.accept()
                connection.close()
                accepted.append(address)
                if len(accepted) == count:
                    done.set()

    async def client(_: int) -> Any:
        with socket.socket() as sock:
            await sock.connect(address)
            return sock.getsockname()

    with await listen() as listener:
        address = listener.getsockname()
        acceptors = tonio.spawn(*[acceptor(listener) for _ in range(4)])
        own = await tonio.map(client, range(count))
        assert await done.wait(10)
        assert sorted(accepted) == sorted(own)
    await acceptors


@both
async def test_connections_that_came_together_are_all_accepted() -> None:
    """One edge for all of them."""
    with await listen() as listener:
        assert await tonio.time.timeout(listener.accept(), 0.001) == (None, False)  # it is watched
        clients = [socket.socket() for _ in range(10)]
        for client in clients:
            await client.connect(listener.getsockname())
        for client in clients:
            outcome, in_time = await tonio.time.timeout(listener.accept(), 5)
            assert in_time
            outcome[0].close()
            client.close()


@both
async def test_refused_connection() -> None:
    with socket.socket() as taken, socket.socket() as client:
        await taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(ConnectionRefusedError):
            await client.connect(taken.getsockname())


@both
async def test_address_in_use() -> None:
    with await listen() as listener, socket.socket() as other:
        with pytest.raises(OSError) as caught:
            await other.bind(listener.getsockname())
        assert caught.value.errno == errno.EADDRINUSE


@both
async def test_descriptor_of_another_socket_can_be_taken_over() -> None:
    ours, other = stdlib_socket.socketpair()
    with other, socket.socket(fileno=ours.detach()) as sock:
        assert sock.family == socket.AF_UNIX
        other.sendall(b"hello")
        assert await sock.recv(10) == b"hello"
        await sock.sendall(b"bye")
        assert other.recv(10) == b"bye"


# --- data -------------------------------------------------------------------------------------


@both
@addresses
async def test_big_transfers_both_ways_at_once(family: int, host: str) -> None:
    size = 3_000_000
    data = [random.Random(seed).randbytes(size) for seed in (1, 2)]
    client, server = await connected(family, host)

    async def send(sock: socket.socket, what: bytes) -> None:
        await sock.sendall(what)
        sock.shutdown(socket.SHUT_WR)

    async def receive(sock: socket.socket) -> bytes:
        return hashlib.sha256(await receive_all(sock)).digest()

    with client, server:
        *_, from_server, from_client = await tonio.spawn(
            send(client, data[0]), send(server, data[1]), receive(client), receive(server)
        )
    assert from_client == hashlib.sha256(data[0]).digest()
    assert from_server == hashlib.sha256(data[1]).digest()


@both
async def test_send_may_send_less_and_says_how_much() -> None:
    client, server = await connected()
    with client, server:
        data = memoryview(bytes(20_000_000))
        sent = await client.send(data)
        assert 0 < sent < len(data)
        received = 0
        while received < sent:
            received += len(await server.recv(1 << 20))
        assert received == sent


@both
async def test_data_may_be_any_buffer() -> None:
    client, server = await connected()
    with client, server:
        for data in (b"bytes", bytearray(b"array"), memoryview(b"x view")[2:]):
            assert await client.send(data) == len(data)
            assert await receive_exactly(server, len(data)) == bytes(data)
            assert await client.sendall(data) is None
            assert await receive_exactly(server, len(data)) == bytes(data)
        assert await client.send(b"") == 0
        assert await client.sendall(b"") is None


@both
async def test_recv_gives_what_there_is_up_to_its_size() -> None:
    client, server = await connected()
    with client, server:
        await client.send(b"0123456789")
        assert await server.recv(4) == b"0123"
        assert await server.recv(3) == b"456"
        assert await server.recv(100) == b"789"
        await client.send(b"exact")
        assert await server.recv(5) == b"exact"
        await client.send(b"more")
        assert await server.recv(1 << 24) == b"more"
        assert await server.recv(0) == b""
        await client.send(b"flags")
        assert await server.recv(5, socket.MSG_PEEK) == b"flags"
        assert await server.recv(5) == b"flags"


@both
async def test_recv_into_fills_a_buffer() -> None:
    client, server = await connected()
    with client, server:
        buffer = bytearray(b"........")
        await client.send(b"0123456789")
        assert await server.recv_into(buffer, 4) == 4
        assert buffer == b"0123...."
        assert await server.recv_into(memoryview(buffer)[6:]) == 2
        assert buffer == b"0123..45"
        assert await server.recv_into(buffer, 0, socket.MSG_PEEK) == 4
        assert buffer == b"678" + b"9..45"
        assert await server.recv_into(buffer) == 4
        client.shutdown(socket.SHUT_WR)
        assert await server.recv_into(buffer) == 0
        for wrong in (b"read-only", "text", None):
            with pytest.raises(TypeError):
                await server.recv_into(wrong)
        for number in (-1, 9):
            with pytest.raises(ValueError):
                await server.recv_into(buffer, number)


@both
async def test_datagrams_stay_whole_and_a_short_one_hides_no_other() -> None:
    kind = (socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(*kind) as one, socket.socket(*kind) as other:
        for sock in (one, other):
            await sock.bind(("127.0.0.1", 0))
        await one.connect(other.getsockname())
        await other.connect(one.getsockname())
        assert await tonio.time.timeout(other.recv(100), 0.001) == (None, False)  # it is watched
        for message in (b"first", b"", b"second", b"third"):
            assert await one.send(message) == len(message)
        for message in (b"first", b"", b"second", b"third"):
            assert await tonio.time.timeout(other.recv(100), 5) == (message, True)
        waiting = tonio.spawn(one.recv(3))
        await other.send(b"cut off")
        assert await waiting == b"cut"
        assert await tonio.time.timeout(one.recv(3), 0.002) == (None, False)


@both
async def test_reader_waits_for_data() -> None:
    client, server = await connected()

    async def reader() -> bytes:
        return await server.recv(10)

    with client, server:
        for message in (b"first", b"second"):
            join = tonio.spawn(reader())
            await tonio.sleep(0.001)
            assert not join.done()
            await client.send(message)
            assert await join == message


@both
async def test_sendall_waits_for_room() -> None:
    client, server = await connected()
    size = 10_000_000
    with client, server:
        join = tonio.spawn(client.sendall(bytes(size)))
        await tonio.sleep(0.005)
        assert not join.done()
        received = 0
        while received < size:
            received += len(await server.recv(1 << 18))
        assert await join is None


@both
async def test_ping_pong_over_a_socket() -> None:
    client, server = await connected()

    async def player(sock: socket.socket, first: bool) -> int:
        count = 0
        if first:
            await sock.send(b"x")
        while count < 300:
            assert await sock.recv(1) == b"x"
            count += 1
            await sock.send(b"x")
        return count

    with client, server:
        assert await tonio.spawn(player(client, True), player(server, False)) == [300, 300]


# --- the end of a stream ----------------------------------------------------------------------


@both
@pytest.mark.parametrize("size", [3, 4, 5, 65536], ids=lambda size: f"buffer of {size}")
async def test_end_that_arrives_with_the_data(size: int) -> None:
    """Data and end come as one event, and a short read must not make the end be forgotten."""
    sock, other = half_connected()

    async def reader() -> bytes:
        return await receive_all(sock, size)

    with sock:
        join = tonio.spawn(reader())
        await tonio.sleep(0.001)
        with other:
            other.sendall(b"data")
        assert await tonio.time.timeout(join, 5) == (b"data", True)


@both
async def test_end_that_arrives_with_the_data_before_the_first_read() -> None:
    for size in (3, 4, 5, 1000):
        sock, other = half_connected()
        with sock:
            with other:
                other.sendall(b"data")
            await tonio.sleep(0.0005)
            assert await tonio.time.timeout(receive_all(sock, size), 5) == (b"data", True)


@both
async def test_end_that_arrives_later() -> None:
    client, server = await connected()
    with server:
        join = tonio.spawn(receive_all(server))
        await client.send(b"one")
        await tonio.sleep(0.001)
        await client.send(b"two")
        await tonio.sleep(0.001)
        client.close()
        assert await join == b"onetwo"
        for _ in range(3):
            assert await server.recv(10) == b""


@both
async def test_half_closed_connection_still_works_the_other_way() -> None:
    client, server = await connected()
    with client, server:
        await client.send(b"question")
        client.shutdown(socket.SHUT_WR)
        assert await receive_all(server) == b"question"
        await server.sendall(b"answer" * 1000)
        server.close()
        assert await receive_all(client) == b"answer" * 1000


@both
async def test_reset_connection() -> None:
    sock, other = half_connected()
    with sock:
        other.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, struct.pack("ii", 1, 0))
        join = tonio.spawn(sock.recv(10))
        await tonio.sleep(0.001)
        other.close()
        with pytest.raises(ExceptionGroup) as caught:
            await join
        assert isinstance(caught.value.exceptions[0], ConnectionResetError)


@both
async def test_sending_to_one_who_is_gone() -> None:
    client, server = await connected()
    server.close()
    with client, pytest.raises((BrokenPipeError, ConnectionResetError)):
        while True:
            await client.sendall(bytes(100_000))


# --- closing ----------------------------------------------------------------------------------


@both
async def test_close_wakes_a_parked_reader() -> None:
    client, server = await connected()
    with client:

        async def reader() -> None:
            with pytest.raises(ResourceClosed):
                await server.recv(10)

        join = tonio.spawn(reader())
        await tonio.sleep(0.001)
        server.close()
        await join
        assert await client.recv(10) == b""


@both
async def test_close_wakes_a_parked_writer() -> None:
    client, server = await connected()
    with server:

        async def writer() -> None:
            with pytest.raises(ResourceClosed):
                await client.sendall(bytes(20_000_000))

        join = tonio.spawn(writer())
        await tonio.sleep(0.002)
        client.close()
        await join


@both
async def test_close_wakes_parked_acceptors() -> None:
    listener = await listen()

    async def acceptor() -> None:
        with pytest.raises(ResourceClosed):
            await listener.accept()

    join = tonio.spawn(acceptor(), acceptor())
    await tonio.sleep(0.001)
    listener.close()
    await join


@both
async def test_close_from_a_foreign_thread_wakes_a_parked_reader() -> None:
    client, server = await connected()
    with client:
        timer = threading.Timer(0.005, server.close)
        timer.start()
        with pytest.raises(ResourceClosed):
            await server.recv(10)
        timer.join()


@both
async def test_closed_socket_cannot_be_used() -> None:
    client, server = await connected()
    with client:
        server.close()
        server.close()
        assert server.fileno() == -1
        for use in (
            lambda: server.recv(1),
            lambda: server.send(b"x"),
            lambda: server.sendall(b"x"),
            lambda: server.accept(),
            lambda: server.connect(("127.0.0.1", 1)),
            lambda: server.bind(("127.0.0.1", 0)),
        ):
            with pytest.raises((OSError, ResourceClosed)):
                await use()
        for plain in (
            server.getsockname,
            server.getpeername,
            server.listen,
            lambda: server.shutdown(socket.SHUT_WR),
            lambda: server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        ):
            with pytest.raises((OSError, ResourceClosed)):
                plain()


@both
async def test_with_block_closes() -> None:
    client, server = await connected()
    with server:
        with client as entered:
            assert entered is client
        assert client.fileno() == -1
        assert await server.recv(1) == b""
        with pytest.raises(KeyError):
            with socket.socket() as sock:
                raise KeyError
        assert sock.fileno() == -1


@both
async def test_dropped_socket_is_closed() -> None:
    before = open_descriptors()
    sock = socket.socket()
    assert len(open_descriptors()) == len(before) + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del sock
    assert open_descriptors() == before


@both
async def test_dropped_socket_is_closed_where_its_warning_is_an_error(
    unraisables: Unraisables,
) -> None:
    before = open_descriptors()
    sock = socket.socket()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        del sock
    (report,) = unraisables.take()
    assert report.type is ResourceWarning
    assert "unclosed" in report.message
    assert open_descriptors() == before


@both
async def test_number_of_a_closed_socket_is_used_again() -> None:
    """What was known of the old socket must not be believed of the new one."""
    for round_ in range(50):
        client, server = await connected()
        with client, server:
            join = tonio.spawn(server.recv(10))
            if round_ % 2:
                await tonio.yield_now()
            await client.send(b"%d" % round_)
            assert await join == b"%d" % round_


@both
async def test_duplicate_of_a_closed_socket_disturbs_nobody() -> None:
    """The poller goes on telling of a descriptor as long as somebody has a copy of it."""
    client, server = await connected()
    copy = os.dup(server.fileno())
    try:
        reading = tonio.spawn(server.recv(10))
        await tonio.sleep(0.001)
        server.close()
        with pytest.raises(ExceptionGroup):
            await reading
        with client:
            others = await connected()
            with others[0], others[1]:
                waiting = tonio.spawn(others[1].recv(10))
                for _ in range(10):
                    await client.send(b"to the copy")
                    await tonio.sleep(0.0002)
                assert not waiting.done()
                await others[0].send(b"hello")
                assert await waiting == b"hello"
    finally:
        os.close(copy)


# --- several users ----------------------------------------------------------------------------


@both
async def test_second_reader_is_refused() -> None:
    client, server = await connected()
    with client, server:
        join = tonio.spawn(server.recv(10))
        await tonio.sleep(0.001)
        with pytest.raises(ResourceBusy):
            await server.recv(10)
        assert await server.recv(0) == b""  # is in nobody's way
        await client.send(b"for the first")
        assert await join == b"for the fi"
        assert await server.recv(10) == b"rst"


@both
async def test_second_writer_is_refused() -> None:
    client, server = await connected()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # soon full
    size = 200_000
    with client, server:
        join = tonio.spawn(client.sendall(bytes(size)))
        await tonio.sleep(0.005)
        with pytest.raises(ResourceBusy):
            await client.sendall(b"x" * 100)
        received = 0
        while received < size:
            received += len(await server.recv(1 << 18))
        await join
        await client.sendall(b"now")
        assert await server.recv(10) == b"now"


@both
async def test_writers_that_come_together_never_mix() -> None:
    """Each sends all or, being refused, nothing; and nobody is refused when nobody sends."""
    size = 200_000

    async def writer(sock: socket.socket, letter: bytes, go: tonio.Event) -> bytes:
        await go.wait()
        try:
            await sock.sendall(letter * size)
        except ResourceBusy:
            return b""
        return letter

    for _ in range(15):
        client, server = await connected()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
        with client, server:
            go = tonio.Event()
            writers = tonio.spawn(*[writer(client, letter, go) for letter in (b"a", b"b", b"c")])
            reading = tonio.spawn(receive_all(server))
            go.set()
            sent = b"".join(await writers)
            client.shutdown(socket.SHUT_WR)
            received = await reading
            assert sent
            runs = bytes(letter for letter, _ in groupby(received))
            assert sorted(runs) == sorted(sent)
            assert len(received) == size * len(sent)


@both
async def test_reader_and_writer_do_not_disturb_each_other() -> None:
    client, server = await connected()
    with client, server:
        reading = tonio.spawn(client.recv(10))
        await tonio.sleep(0.001)
        await client.sendall(b"hello")
        assert await server.recv(10) == b"hello"
        await server.sendall(b"bye")
        assert await reading == b"bye"


@both
async def test_one_task_reads_after_the_other() -> None:
    client, server = await connected()

    async def read() -> bytes:
        return await server.recv(1)

    with client, server:
        await client.send(b"0123456789")
        received = b""
        for _ in range(10):
            received += await tonio.spawn(read())
        assert received == b"0123456789"


# --- cancellation -----------------------------------------------------------------------------


@both
async def test_reader_that_gives_up_loses_nothing() -> None:
    client, server = await connected()
    data = random.Random(3).randbytes(3000)

    async def send() -> None:
        for start in range(0, len(data), 100):
            await client.sendall(data[start : start + 100])
            await tonio.sleep(0.0003)
        client.close()

    with client, server:
        tonio.spawn.without_tracking(send())
        received = b""
        while True:
            piece, in_time = await tonio.time.timeout(server.recv(70), 0.0002)
            if in_time:
                received += piece
                if not piece:
                    break
        assert received == data


@both
async def test_acceptor_that_gives_up_loses_no_connection() -> None:
    count = 30

    async def client(number: int) -> bytes:
        await tonio.sleep(number * 0.0003)
        with socket.socket() as sock:
            await sock.connect(address)
            return await receive_all(sock)

    with await listen() as listener:
        address = listener.getsockname()
        join = tonio.map(client, range(count))
        accepted = 0
        while accepted < count:
            outcome, in_time = await tonio.time.timeout(listener.accept(), 0.0002)
            if in_time:
                with outcome[0] as connection:
                    await connection.sendall(b"welcome")
                accepted += 1
        assert await join == [b"welcome"] * count


@both
async def test_cancelled_reader_makes_room_for_another() -> None:
    client, server = await connected()
    with client, server:
        for _ in range(20):
            assert await tonio.time.timeout(server.recv(10), 0.0002) == (None, False)
        await client.send(b"hello")
        assert await server.recv(10) == b"hello"


@both
def test_sockets_that_are_waited_for_at_the_end_are_left_in_peace(threads: int) -> None:
    sockets: list[socket.socket] = []

    async def main() -> None:
        sockets.extend(await connected())
        sockets.append(await listen())
        for sock in sockets[:2]:
            tonio.spawn(sock.recv(10))
        tonio.spawn(sockets[2].accept())
        await tonio.sleep(0.001)

    async def use() -> bytes:
        client, server, _ = sockets
        await client.send(b"still there")
        return await server.recv(100)

    tonio.run(main(), threads=threads)
    assert tonio.run(use(), threads=threads) == b"still there"
    for sock in sockets:
        sock.close()


# --- runtimes ---------------------------------------------------------------------------------


@both
def test_socket_in_one_runtime_after_another(threads: int) -> None:
    client, server = tonio.run(connected(), threads=threads)

    async def exchange(number: int) -> None:
        join = tonio.spawn(server.recv(10))
        await tonio.sleep(0.001)
        await client.send(b"%d" % number)
        assert await join == b"%d" % number
        await server.send(b"back")
        assert await client.recv(10) == b"back"

    for number in range(5):
        tonio.run(exchange(number), threads=threads)
    client.close()
    assert tonio.run(server.recv(1), threads=threads) == b""
    server.close()


def test_sockets_can_be_made_and_closed_without_a_runtime() -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        assert sock.getsockname() == ("0.0.0.0", 0)
    assert sock.fileno() == -1


@both
def test_data_that_arrives_between_two_runs(threads: int) -> None:
    sock, other = half_connected()

    async def wait_in_vain() -> Any:
        return await tonio.time.timeout(sock.recv(10), 0.001)

    with sock, other:
        assert tonio.run(wait_in_vain(), threads=threads) == (None, False)
        other.sendall(b"between")
        assert tonio.run(sock.recv(10), threads=threads) == b"between"


# --- options ----------------------------------------------------------------------------------


@both
async def test_options() -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        linger = struct.pack("ii", 1, 5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(linger)) == linger
        with pytest.raises(OSError):
            sock.setsockopt(socket.SOL_SOCKET, 987654, 1)


@both
async def test_shutdown_of_what_is_not_connected() -> None:
    with socket.socket() as sock, pytest.raises(OSError) as caught:
        sock.shutdown(socket.SHUT_RDWR)
    assert caught.value.errno == errno.ENOTCONN


@both
async def test_wrong_arguments() -> None:
    client, server = await connected()
    with client, server:
        for wrong in (
            lambda: client.send("text"),
            lambda: client.sendall("text"),
            lambda: client.send(None),
            lambda: client.recv("10"),
            lambda: client.recv(None),
            lambda: client.connect("127.0.0.1"),
            lambda: client.connect(("127.0.0.1", "http")),
            lambda: client.bind(80),
        ):
            with pytest.raises(TypeError):
                await wrong()
        with pytest.raises(ValueError):
            await client.recv(-1)
        with pytest.raises((OverflowError, ValueError)):
            await client.connect(("127.0.0.1", 65536))
        with pytest.raises((TypeError, ValueError, OSError)):
            socket.socket("AF_INET")
        await client.send(b"still usable")
        assert await server.recv(100) == b"still usable"


@both
async def test_unknown_host() -> None:
    with socket.socket() as sock, pytest.raises(OSError):
        await sock.connect(("does.not.exist.invalid", 80))


@both
async def test_waiting_on_a_socket_uses_no_cpu() -> None:
    client, server = await connected()
    with client, server:
        before = time.process_time()
        assert await tonio.time.timeout(server.recv(1), 0.05) == (None, False)
        assert time.process_time() - before < 0.03
