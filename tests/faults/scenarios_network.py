"""Scenarios of the network: sockets of each kind, names, descriptors. See scenarios.py."""

import os
import socket as stdlib
import tempfile

from scenarios import persist, scenario

import tonio.colored as tonio
from tonio.colored.io import register
from tonio.colored.net import SocketStream, socket
from tonio.exceptions import ResourceBroken, ResourceClosed

# What the end of one side is for the other.
PEERS = (ConnectionError, ResourceBroken, ResourceClosed)


async def serve(listener, clients):
    for _ in range(clients):
        client, _ = await listener.accept()
        with client:
            while data := await client.recv(100):
                await client.sendall(data)


@scenario(*PEERS)
async def tcp_echo():
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        async with tonio.scope() as scope:
            scope.spawn(serve(listener, 1))
            with socket.socket() as sock:
                await sock.connect(listener.getsockname())
                assert sock.getpeername() == listener.getsockname()
                for i in range(3):
                    await sock.sendall(b"message %d" % i)
                    got = bytearray()
                    while len(got) < 9:
                        room = bytearray(9 - len(got))
                        count = await sock.recv_into(room)
                        if count == 0:
                            raise ConnectionAbortedError
                        got += room[:count]
                    assert got == b"message %d" % i
                sock.shutdown(socket.SHUT_WR)
                assert await sock.recv(10) == b""
    return "done"


@scenario(*PEERS)
async def accept_again():
    """What keeps one accept from its client leaves the client to the next."""
    with socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()

        async def accept():
            while True:
                try:
                    client, _ = await listener.accept()
                except OSError:
                    continue
                return client

        async with tonio.scope() as scope:
            accepting = scope.spawn(accept())
            await tonio.sleep(0.0002)
            with socket.socket() as sock:
                await sock.connect(listener.getsockname())
                client = await accepting
                with client:
                    await client.sendall(b"welcome")
                    assert await sock.recv(1) == b"w"
    return "done"


@scenario(*PEERS)
async def streams():
    """Every byte arrives once and in order, however few come and whatever memory there is."""
    left, right = socket.socketpair()
    text = bytes(range(256)) * 40
    got = bytearray()

    async def send():
        await left.sendall(text)
        sent = 0
        while sent < 100:
            sent += await left.send(text[sent:100])
        left.shutdown(socket.SHUT_WR)

    async def receive(size):
        data = await persist(lambda: right.recv(size))
        got.extend(data)
        return data

    with left, right:
        async with tonio.scope() as scope:
            scope.spawn(send())
            size = 100
            while await receive(size):
                size = min(2 * size, 100_000)
        assert got == text + text[:100], len(got)
    return "done"


@scenario(*PEERS)
async def big_streams():
    """Receives that are filled, and objects too large to be copied from the scratch buffer."""
    left, right = socket.socketpair()
    text = bytes(range(256)) * 1000
    got = 0

    async def send():
        await left.sendall(text)
        left.close()

    with left, right:
        async with tonio.scope() as scope:
            scope.spawn(send())
            while True:
                data = await right.recv(200_000)
                if not data:
                    break
                assert data == text[got : got + len(data)]
                got += len(data)
        assert got == len(text)
    return "done"


@scenario(*PEERS)
async def lines():
    """A line is whole or not there: what came before memory was short stays in the stream."""
    left, right = map(SocketStream, socket.socketpair())
    texts = [b"a", b"b" * 100, b"c" * 5000]

    async def send():
        for text in texts:
            await left.send_all(text + b"\n")
        left.send_eof()

    with left, right:
        async with tonio.scope() as scope:
            scope.spawn(send())
            for text in texts:
                assert await persist(lambda: right.receive_until(b"\n", 10_000)) == text
            assert await persist(lambda: right.receive_some(10)) == b""
    return "done"


@scenario(*PEERS)
async def messages():
    left, right = socket.socketpair()
    reader, writer = os.pipe()
    fds = []
    try:
        with left, right:
            sent = await socket.send_fds(left, [b"ab", b"cd"], [reader])
            data, fds, _, _ = await socket.recv_fds(right, 10, 2)
            assert data == b"abcd"[: len(data)]
            assert 0 < len(data) <= sent
            assert len(fds) == 1
            room = bytearray(4)
            await left.sendmsg([b"e", b"f"])
            count, *_ = await right.recvmsg_into([room])
            assert 1 <= count <= 4
    finally:
        for fd in (reader, writer, *fds):
            os.close(fd)
    return "done"


@scenario(*PEERS, TimeoutError)
async def datagrams():
    with (
        socket.socket(type=socket.SOCK_DGRAM) as left,
        socket.socket(type=socket.SOCK_DGRAM) as right,
    ):
        await left.bind(("127.0.0.1", 0))
        await right.bind(("127.0.0.1", 0))
        assert await left.sendto(b"question", right.getsockname()) == 8
        data, address = await right.recvfrom(100, timeout=5)
        assert data in {b"question", b"q"}
        await right.sendto(b"answer", address)
        assert (await left.recvfrom_into(bytearray(10), timeout=5))[0] in {1, 6}
    return "done"


@scenario(*PEERS)
async def files():
    left, right = socket.socketpair()
    text = b"0123456789" * 30
    got = bytearray()

    async def receive():
        while data := await right.recv(100):
            got.extend(data)

    with tempfile.TemporaryFile() as file, left, right:
        file.write(text)
        file.seek(0)
        async with tonio.scope() as scope:
            scope.spawn(receive())
            assert await left.sendfile(file, 10, 250) == 250
            left.close()
        assert got == text[10:260]
    return "done"


@scenario(*PEERS)
async def closed_sockets():
    left, right = socket.socketpair()
    ended = []

    async def receive():
        try:
            await right.recv(10)
        except ResourceClosed:
            ended.append("closed")

    with left, right:
        async with tonio.scope() as scope:
            scope.spawn(receive())
            await tonio.sleep(0.0005)
            right.close()
        assert ended == ["closed"]
        assert await left.recv(5, timeout=5) == b""
    return "done"


@scenario(*PEERS)
async def late_sockets():
    left, right = socket.socketpair()
    with left, right:
        try:
            await left.recv(5, timeout=0.0005)
            raise AssertionError
        except TimeoutError:
            pass
        async with tonio.scope(timeout=0.0005) as scope:
            await left.recv(5)
        assert scope.cancelled
        await right.sendall(b"x")
        assert await left.recv(5) == b"x"
    return "done"


@scenario(*PEERS)
async def kinds_of_sockets():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            await listener.bind(path)
            listener.listen(5)
            assert listener.getsockname() == path
            with socket.socket(socket.AF_UNIX) as sock:
                await sock.connect(path)
                client, _ = await listener.accept()
                client.close()
        with socket.socket(socket.AF_INET6) as six:
            await six.bind(("::1", 0))
            assert six.getsockname()[0] == "::1"
            assert not six.get_inheritable()
            six.set_inheritable(True)
            assert six.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
            with six.dup() as copy:
                fd = copy.detach()
            os.close(fd)
        with stdlib.socket() as one, socket.fromfd(one.fileno(), one.family, one.type) as two:
            assert two.fileno() != one.fileno()
        with socket.from_stdlib_socket(stdlib.socket()) as ours:
            assert ours.gettimeout() is None
    return "done"


@scenario(*PEERS)
async def refused():
    with socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        address = listener.getsockname()
    with socket.socket() as sock:
        assert await sock.connect_ex(address) != 0
    with socket.socket() as sock:
        try:
            await sock.connect(address)
            raise AssertionError
        except ConnectionRefusedError:
            pass
    with socket.socket() as sock:
        sock.settimeout(0)
        try:
            await sock.connect(address)
            raise AssertionError
        except (BlockingIOError, ConnectionRefusedError):
            pass
    return "done"


@scenario(*PEERS, socket.gaierror)
async def names():
    found = await socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    assert any(address[0] in {"127.0.0.1", "::1"} for *_, address in found)
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert await socket.getnameinfo(("127.0.0.1", 80), flags) == ("127.0.0.1", "80")
    with socket.socket() as listener:
        await listener.bind(("localhost", 0))
        listener.listen()
        with socket.socket() as sock:
            await sock.connect(("localhost", listener.getsockname()[1]))
            client, _ = await listener.accept()
            client.close()
    both = await tonio.spawn(*[socket.getaddrinfo("127.0.0.1", 80) for _ in range(3)])
    assert len(both) == 3
    return "done"


# Without memory to wait for the end of the scope its block is left, and closes what the task uses.
@scenario(ResourceClosed)
async def descriptors():
    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        with register(reader) as source:
            async with tonio.scope() as scope:
                scope.spawn(source.wait_readable())
                await tonio.sleep(0.0005)
                os.write(writer, b"x")
            assert os.read(reader, 10) == b"x"
            armed = source.arm_r(0.0005)
            try:
                if armed is not None:
                    await armed
            except TimeoutError:
                pass
            source.consume_r()
        with register(writer) as source:
            await source.wait_writable()
    finally:
        os.close(reader)
        os.close(writer)
    return "done"
