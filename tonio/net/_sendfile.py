"""The Python half of `socket.sendfile()`: looks at the file, reads it where the system cannot."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from typing import Any, BinaryIO

from tonio._core import Operation, delegate, socket, spawn_blocking, time

_CHUNK = 256 * 1024

# What the system says of files that it cannot send, or of systems that cannot do it at all.
_NOT_POSSIBLE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EOVERFLOW}


def _regular_descriptor(file: Any) -> int | None:
    """The descriptor of a file that the system may send by itself."""
    try:
        fd = file.fileno()
        return fd if stat.S_ISREG(os.fstat(fd).st_mode) else None
    except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation is both of the last
        return None


def _read_and_send(
    sock: socket, file: BinaryIO, offset: int, count: int | None, timeout: float | None
) -> Generator[Any, Any, int]:
    deadline = None if timeout is None else time() + timeout
    sent = 0
    if offset:
        yield spawn_blocking(file.seek, offset)
    try:
        while count is None or sent < count:
            wanted = _CHUNK if count is None else min(_CHUNK, count - sent)
            data = yield spawn_blocking(file.read, wanted)
            if not data:
                break
            left = None if deadline is None else max(0.0, deadline - time())
            yield sock.sendall(data, timeout=left)
            sent += len(data)
    finally:
        if sent and hasattr(file, "seek"):
            file.seek(offset + sent)
    return sent


def _send(
    sock: socket, file: BinaryIO, offset: int, count: int | None, timeout: float | None
) -> Generator[Any, Any, int]:
    fd = _regular_descriptor(file)
    if fd is not None:
        try:
            sent: int = yield sock._send_range(fd, offset, count, timeout)
        except OSError as error:
            # Those come with the first call if at all: nothing was sent.
            if error.errno not in _NOT_POSSIBLE:
                raise
        else:
            file.seek(offset + sent)
            return sent
    return (yield from _read_and_send(sock, file, offset, count, timeout))


def sendfile(
    sock: socket, file: BinaryIO, offset: int, count: int | None, timeout: float | None
) -> Operation[int]:
    """The operation `sock.sendfile(...)`."""
    from socket import SOCK_STREAM

    if "b" not in getattr(file, "mode", "b"):
        raise ValueError("sendfile(): the file must be open in binary mode")
    if sock.type != SOCK_STREAM:
        raise ValueError("sendfile(): only a SOCK_STREAM socket can send a file")
    if not isinstance(offset, int):
        raise TypeError(f"sendfile(): offset must be an int, not {type(offset).__name__}")
    if offset < 0:
        raise ValueError("sendfile(): offset must not be negative")
    if count is not None and not isinstance(count, int):
        raise TypeError(f"sendfile(): count must be a positive integer, not {type(count).__name__}")
    if count is not None and count <= 0:
        raise ValueError("sendfile(): count must be a positive integer")
    return delegate(_send(sock, file, offset, count, timeout))
