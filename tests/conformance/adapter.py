"""A module `_socket` whose sockets are TonIO's, for the standard library's `socket` on top of it.

The standard `socket.py` is executed anew with this instead of its C half. So everything that it
adds (files, `create_connection`, `sendfile` with its fallback, passing of descriptors ...) works on
TonIO's system calls, and CPython's own tests for `socket` can be run against them. A call that
waits is spawned into a runtime in a thread of its own, and the calling thread blocks for it.

What the two mean differently is translated here, and is all that is: a closed socket raises
`OSError` (EBADF), and the text of a timeout is the standard one.
"""

from __future__ import annotations

import _socket
import errno
import os
import ssl  # noqa: F401 - while it still finds the true _socket
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tonio.colored as tonio
from tonio.colored.net import socket as ours
from tonio.exceptions import ResourceClosed
from tonio.net._sendfile import _regular_descriptor


class Bridge:
    """A runtime in a thread, which works for threads that block."""

    def __init__(self, threads: int) -> None:
        self._ready = threading.Event()
        self._stop = tonio.Event()
        self._threads = threads
        self._thread = threading.Thread(target=self._run, name="bridge", daemon=True)
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        # Idle threads of the pool would count as left behind by a test.
        options = {"threads": self._threads, "blocking_threadpool_idle_ttl": 0.1}
        tonio.run(self._program(), **options)

    async def _program(self) -> None:
        self._ready.set()
        await self._stop.wait()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self, operation: Any) -> Any:
        """What comes of an operation. A signal handler that raises cancels it."""
        done = threading.Event()
        outcome: list[Any] = []

        async def work() -> None:
            try:
                outcome[:] = [await operation, None]
            except Exception as error:
                outcome[:] = [None, error]
            finally:
                done.set()

        join = tonio.spawn(work())
        try:
            done.wait()
        except BaseException:
            join.cancel()
            done.wait()
            raise
        value, error = outcome
        if error is None:
            return value
        outcome.clear()
        raise translated(error)


def translated(error: Exception) -> Exception:
    if isinstance(error, ResourceClosed):
        return OSError(errno.EBADF, os.strerror(errno.EBADF))
    if isinstance(error, TimeoutError) and error.errno is None:
        return TimeoutError("timed out")
    return error


_bridge: Bridge | None = None


def bridge() -> Bridge:
    global _bridge
    if _bridge is None:
        # One thread: another one that is started during a test would count as left behind.
        _bridge = Bridge(threads=1)
    return _bridge


def _waiting(name: str) -> Callable[..., Any]:
    def method(self: Socket, *args: Any, **kwargs: Any) -> Any:
        return bridge().wait(getattr(self._ours, name)(*args, **kwargs))

    return method


def _plain(name: str) -> Callable[..., Any]:
    def method(self: Socket, *args: Any) -> Any:
        try:
            return getattr(self._ours, name)(*args)
        except ResourceClosed as error:
            raise translated(error) from None

    return method


class Socket:
    """What `_socket.socket` is to the standard module."""

    __slots__ = ("_ours",)

    def __init__(
        self,
        family: int = -1,
        type: int = -1,  # noqa: A002
        proto: int = -1,
        fileno: int | None = None,
    ) -> None:
        self._ours = ours.socket(family, type, proto, fileno)
        self._ours.settimeout(_socket.getdefaulttimeout())

    def _accept(self) -> tuple[int, Any]:
        connection, address = bridge().wait(self._ours.accept())
        return connection.detach(), address

    def close(self) -> None:
        self._ours.close()

    family = property(lambda self: int(self._ours.family))
    type = property(lambda self: int(self._ours.type))
    proto = property(lambda self: self._ours.proto)
    timeout = property(lambda self: self._ours.timeout)


WAITING = (
    *("bind", "connect", "connect_ex", "recv", "recv_into", "recvfrom", "recvfrom_into"),
    *("recvmsg", "recvmsg_into", "send", "sendall", "sendmsg", "sendto"),
)
PLAIN = (
    *("detach", "fileno", "getblocking", "getpeername", "getsockname", "getsockopt"),
    *("gettimeout", "listen", "setblocking", "setsockopt", "settimeout", "shutdown"),
)
for _name in WAITING:
    setattr(Socket, _name, _waiting(_name))
for _name in PLAIN:
    setattr(Socket, _name, _plain(_name))


def _getaddrinfo(*args: Any, **kwargs: Any) -> Any:
    found = bridge().wait(ours.getaddrinfo(*args, **kwargs))
    return [(int(family), int(kind), *rest) for family, kind, *rest in found]


def _getnameinfo(*args: Any) -> Any:
    return bridge().wait(ours.getnameinfo(*args))


def _socketpair(*args: Any) -> tuple[Any, Any]:
    left, right = ours.socketpair(*args)
    return tuple(
        Socket(int(sock.family), int(sock.type), sock.proto, sock.detach())
        for sock in (left, right)
    )


def _sendfile(self: Any, file: Any, offset: int = 0, count: int | None = None) -> Any:
    if _regular_descriptor(file) is None:
        raise sys.modules["socket"]._GiveupOnSendfile
    return bridge().wait(self._ours.sendfile(file, offset, count))


def install() -> None:
    """From here on `import socket` gives the standard module on top of TonIO."""
    bridge()
    source = Path(sys.modules["socket"].__file__ or "")
    engine = types.ModuleType("_socket")
    engine.__dict__.update(_socket.__dict__)
    engine.__dict__.update(
        socket=Socket,
        SocketType=Socket,
        getaddrinfo=_getaddrinfo,
        getnameinfo=_getnameinfo,
        socketpair=_socketpair,
    )
    engine.__dict__.pop("CAPI", None)
    module = types.ModuleType("socket")
    module.__file__ = str(source)
    module.__spec__ = sys.modules["socket"].__spec__
    sys.modules["_socket"] = engine
    sys.modules["socket"] = module
    exec(compile(source.read_text(), str(source), "exec"), module.__dict__)
    # The two ways of sendfile(): the system's, and reading.
    standard = module.__dict__["socket"]
    standard._sendfile_use_sendfile = _sendfile
