"""Functions of the standard module that make sockets or need one, for ours."""

from __future__ import annotations

import array
import os
import socket as _socket
from collections.abc import Generator, Iterable
from typing import Any

from tonio._core import Operation, delegate, socket

__all__ = ["from_stdlib_socket", "fromfd", "recv_fds", "send_fds", "socketpair"]


def fromfd(fd: int, family: int, type: int, proto: int = 0) -> socket:  # noqa: A002
    """A socket for a duplicate of a descriptor, which stays open and its owner's.

    The two share the system's socket, which does not block from now on. Raises `OSError`.
    """
    copy = os.dup(fd)
    try:
        return socket(family, type, proto, copy)
    except BaseException:
        os.close(copy)
        raise


def socketpair(
    family: int | None = None,
    type: int = _socket.SOCK_STREAM,  # noqa: A002
    proto: int = 0,
) -> tuple[socket, socket]:
    """Two sockets that are connected with each other: Unix ones, unless a family is given.

    left, right = socket.socketpair()
    """
    left, right = _socket.socketpair(family, type, proto)
    with left, right:
        return from_stdlib_socket(left), from_stdlib_socket(right)


def from_stdlib_socket(sock: _socket.socket) -> socket:
    """Takes a socket of the standard library over, with its timeout: that object is closed then.

    Raises `TypeError` for anything else, `ValueError` for a closed one.
    """
    if not isinstance(sock, _socket.socket):
        raise TypeError(
            "from_stdlib_socket() takes a socket of the standard library, not "
            f"{type(sock).__name__}"
        )
    timeout = sock.gettimeout()
    ours = socket(sock.family, sock.type, sock.proto, sock.fileno())
    sock.detach()
    ours.settimeout(None if timeout == 0 else timeout)
    return ours


def send_fds(
    sock: socket,
    buffers: Iterable[Any],
    fds: Iterable[int],
    flags: int = 0,
    address: Any = None,
    *,
    timeout: float | None = None,
) -> Operation[int]:
    """Sends data and descriptors over a Unix socket: yield or await; the result is as of `send`.

    The other side gets duplicates. Raises as `sendmsg` does.
    """
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", fds))
    return sock.sendmsg(buffers, [rights], flags, address, timeout=timeout)


def _recv_fds(
    sock: socket, bufsize: int, maxfds: int, flags: int, timeout: float | None
) -> Generator[Any, Any, tuple[bytes, list[int], int, Any]]:
    fds = array.array("i")
    room = _socket.CMSG_LEN(maxfds * fds.itemsize)
    data, ancillary, msg_flags, address = yield sock.recvmsg(bufsize, room, flags, timeout=timeout)
    for level, kind, content in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, list(fds), msg_flags, address


def recv_fds(
    sock: socket, bufsize: int, maxfds: int, flags: int = 0, *, timeout: float | None = None
) -> Operation[tuple[bytes, list[int], int, Any]]:
    """Receives data and up to `maxfds` descriptors: yield or await.

    The result is (data, list of descriptors, flags, address). The descriptors are yours to close,
    and are not inherited by other programs. Raises as `recvmsg` does.
    """
    return delegate(_recv_fds(sock, bufsize, maxfds, flags, timeout))
