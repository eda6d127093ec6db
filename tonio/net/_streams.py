"""`SocketStream`, and the ways to open one: `open_tcp_stream`, `open_unix_socket`."""

from __future__ import annotations

import itertools
import os
import socket as _socket
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from tonio._core import Event, Operation, Scope, Stream, delegate, getaddrinfo, scope, socket

__all__ = ["ByteStream", "SocketStream", "open_tcp_stream", "open_unix_socket"]

# Binds to an address now and to a port when it connects, so that the port may be shared.
_BIND_ADDRESS_NO_PORT = getattr(_socket, "IP_BIND_ADDRESS_NO_PORT", 24)

# One entry of what getaddrinfo() gives.
type Target = tuple[int, int, int, str, Any]


class ByteStream(Protocol):
    """What TLS runs on, and what a handler is given: `SocketStream`, `TLSStream`, or your own."""

    def receive_some(self, max_bytes: int | None = None) -> Operation[bytes]: ...
    def send_all(self, data: Any) -> Operation[None]: ...
    def close(self) -> Operation[None] | None: ...


class SocketStream(Stream):
    """The bytes of a connected socket. The waiting methods are yielded or awaited.

    One task may receive while another sends; a second one in the same direction gets
    `ResourceBusy`. `TCP_NODELAY` is set. A context manager that closes it, in both ways; iterating
    gives what comes, in pieces, up to the end (a plain `for` gives operations, the last of which
    gives b''). May be used by any thread.

    Raises `TypeError` or `ValueError` for what is no stream socket.

        stream = SocketStream(sock)
        yield stream.send_all(b"GET / HTTP/1.0\\r\\n\\r\\n")
        status = yield stream.receive_until(b"\\r\\n")
    """

    __slots__ = ()

    def __init__(self, socket: socket) -> None:
        if socket.family in (_socket.AF_INET, _socket.AF_INET6):
            with suppress(OSError):  # it fails for connections that are dead already
                socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)

    async def __aenter__(self) -> SocketStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def check_port(function: str, port: Any) -> None:
    """An error that says what is wrong with a port, if something is."""
    if not isinstance(port, int):
        raise TypeError(f"{function}(): port must be an int, not {type(port).__name__}")
    if not 0 <= port <= 65535:
        raise ValueError(f"{function}(): port must be between 0 and 65535, not {port}")


def check_host(function: str, host: Any) -> None:
    if not isinstance(host, str | bytes):
        raise TypeError(f"{function}(): host must be a str, not {type(host).__name__}")
    if not host:
        raise ValueError(f"{function}(): host must not be empty")


def _in_turn(found: Sequence[Target]) -> list[Target]:
    """The addresses in the order in which they are tried: families alternate (RFC 8305, 4)."""
    families: dict[int, list[Target]] = {}
    for target in dict.fromkeys(found):
        families.setdefault(target[0], []).append(target)
    rounds = itertools.zip_longest(*families.values())
    return [target for turn in rounds for target in turn if target is not None]


class _Race:
    """Happy Eyeballs: the next attempt begins when one fails, or has taken longer than a delay."""

    def __init__(self, local_address: str | None) -> None:
        self.local_address = local_address
        # Several threads append to these.
        self.connected: list[socket] = []
        self.errors: list[OSError] = []

    def attempt(self, target: Target, attempts: Scope, failed: Event) -> Generator[Any, Any]:
        """Tries one address; the first that succeeds ends the other attempts."""
        family, kind, proto, _, address = target
        try:
            sock = socket(family, kind, proto)
            try:
                if self.local_address is not None:
                    sock.setsockopt(_socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                    yield sock.bind((self.local_address, 0))
                yield sock.connect(address)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            self.errors.append(error)
            failed.set()
        else:
            self.connected.append(sock)
            attempts.cancel()

    def run(self, targets: Sequence[Target], delay: float) -> Generator[Any, Any, socket | None]:
        """The first connection; None if there is none."""
        try:
            with scope() as attempts:
                for number, target in enumerate(targets, 1):
                    failed = Event()
                    attempts.spawn(self.attempt(target, attempts, failed))
                    if number < len(targets):
                        yield failed.wait(delay)
            yield attempts()
            return self.connected.pop(0) if self.connected else None
        finally:
            for loser in self.connected:
                loser.close()


def _failure(errors: Sequence[OSError], what: str) -> OSError:
    if len(errors) == 1:
        return errors[0]
    first = errors[0]
    message = f"all {len(errors)} attempts to connect to {what} failed, the first: {first.strerror}"
    error = OSError(first.errno, message)
    error.__cause__ = ExceptionGroup(f"attempts to connect to {what}", errors)
    return error


def _open_tcp_stream(
    host: str, port: int, delay: float, local_address: str | None
) -> Generator[Any, Any, SocketStream]:
    found = yield getaddrinfo(host, port, type=_socket.SOCK_STREAM)
    race = _Race(local_address)
    sock = yield from race.run(_in_turn(found), delay)
    if sock is None:
        raise _failure(race.errors, f"{host!r}, port {port}")
    return SocketStream(sock)


def open_tcp_stream(
    host: str,
    port: int,
    *,
    happy_eyeballs_delay: float = 0.25,
    local_address: str | None = None,
) -> Operation[SocketStream]:
    """Connects to a host: yield or await; the result is a `SocketStream`.

    A name that has several addresses is tried as RFC 8305 says: families in turn, and the next
    address as soon as an attempt fails or has taken `happy_eyeballs_delay` seconds, while it goes
    on. The first connection is taken, the other attempts are cancelled. `local_address` is the
    address to connect from.

    Can be cancelled. Raises `OSError` if no attempt succeeds (with an `ExceptionGroup` as the cause
    if there were several), `socket.gaierror` for an unknown name, `TypeError` or `ValueError` for
    bad arguments.

        stream = yield tonio.net.open_tcp_stream("localhost", 8000)
    """
    check_host("open_tcp_stream", host)
    check_port("open_tcp_stream", port)
    if not happy_eyeballs_delay >= 0:
        raise ValueError("open_tcp_stream(): happy_eyeballs_delay must not be negative or NaN")
    return delegate(_open_tcp_stream(host, port, happy_eyeballs_delay, local_address))


def _open_unix_socket(path: str | bytes) -> Generator[Any, Any, SocketStream]:
    sock = socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        yield sock.connect(path)
        return SocketStream(sock)
    except BaseException:
        sock.close()
        raise


def open_unix_socket(filename: str | bytes | os.PathLike[str]) -> Operation[SocketStream]:
    """Connects to a Unix socket: yield or await; the result is a `SocketStream`.

    Raises `OSError` (`FileNotFoundError`, `ConnectionRefusedError` ...), `TypeError` for what is no
    path.

        stream = yield tonio.net.open_unix_socket("/run/service.sock")
    """
    return delegate(_open_unix_socket(os.fspath(filename)))
