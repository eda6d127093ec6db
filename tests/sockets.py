"""What the socket tests share: connections, peers of the standard library, addresses.

The functions that wait are coroutines, which both notations take.
"""

import os
import socket as stdlib_socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tonio.net import socket


def tcp_listener(backlog: int = 512) -> socket.socket:
    listener = stdlib_socket.create_server(("127.0.0.1", 0), backlog=backlog)
    return socket.from_stdlib_socket(listener)


async def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection."""
    with tcp_listener() as listener:
        client = socket.socket()
        await client.connect(listener.getsockname())
        server, _ = await listener.accept()
    return client, server


async def udp(host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    await sock.bind((host, 0))
    return sock


def half_connected() -> tuple[socket.socket, stdlib_socket.socket]:
    """A TCP connection of which only one end is ours; the other blocks."""
    with stdlib_socket.create_server(("127.0.0.1", 0)) as listener:
        other = stdlib_socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    return socket.from_stdlib_socket(accepted), other


def abstract_name() -> str:
    """A Unix address in the abstract namespace that nobody else has."""
    return "\0tonio-" + os.urandom(8).hex()


async def fill(sock: socket.socket) -> int:
    """Sends until nothing fits any more; how much that was."""
    sent = 0
    while True:
        try:
            sent += await sock.send(b"x" * 65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return sent


async def receive_exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await sock.recv(count - len(data))
        assert piece
        data += piece
    return data


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """The end of a pipe to read from, and the one to write to. Neither blocks."""
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield ends
    finally:
        for fd in ends:
            with suppress(OSError):  # the test may have closed it
                os.close(fd)
