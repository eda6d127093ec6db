"""`SocketListener`, and where listeners come from: ports, paths, or the process before this one."""

from __future__ import annotations

import errno
import os
import socket as _socket
import stat
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from tonio._core import Operation, delegate, getaddrinfo, socket, spawn_blocking
from tonio.net._functions import from_stdlib_socket
from tonio.net._streams import ByteStream, SocketStream, Target, check_port

__all__ = [
    "Listener",
    "SocketListener",
    "inherited_listeners",
    "open_tcp_listeners",
    "open_unix_listener",
]

_BACKLOG = 4096  # the system takes no more than net.core.somaxconn
_PORT_ATTEMPTS = 20  # to find a port that is free in every family
_FIRST_INHERITED = 3  # the descriptor at which inherited ones begin

# What the system says of families that it was built or booted without.
_NO_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


class Listener(Protocol):
    """What `serve_listeners` takes: `SocketListener`, `TLSListener`, or your own."""

    def accept(self, *, timeout: float | None = None) -> Operation[Any]: ...
    def close(self) -> Any: ...


class SocketListener:
    """A listening socket that gives streams. A context manager that closes it, in both ways.

    Raises `TypeError` for what is no socket of TonIO's, `ValueError` for one that does not listen.

        with SocketListener(sock) as listener:
            stream = yield listener.accept()
    """

    __slots__ = ("__weakref__", "_file", "socket")

    def __init__(self, socket: socket) -> None:
        if type(socket) is not _OurSocket:
            raise TypeError(
                "SocketListener(): socket must be a tonio.net.socket.socket, not "
                f"{type(socket).__name__}"
            )
        if not socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
            raise ValueError("SocketListener(): socket must be listening: call its listen() first")
        self.socket = socket
        self._file: tuple[str | bytes, os.stat_result] | None = None

    def __repr__(self) -> str:
        return f"<SocketListener of {self.socket!r}>"

    def _accept(self, timeout: float | None) -> Generator[Any, Any, SocketStream]:
        sock, _ = yield self.socket.accept(timeout=timeout)
        return SocketStream(sock)

    def accept(self, *, timeout: float | None = None) -> Operation[SocketStream]:
        """Waits for a connection: yield or await; the result is a `SocketStream`.

        Any number of tasks may accept. Can be cancelled without losing a connection. Raises
        `OSError`, `TimeoutError`, or `ResourceClosed` if the listener is or gets closed.
        """
        return delegate(self._accept(timeout))

    def close(self) -> None:
        """Closes it; any thread. Who waits gets `ResourceClosed`. A second call does nothing.

        The file of a Unix socket goes too, if `open_unix_listener` has made it.
        """
        file, self._file = self._file, None
        if file is not None:
            path, made = file
            with suppress(OSError):
                if os.path.samestat(os.lstat(path), made):
                    os.unlink(path)
        self.socket.close()

    def __enter__(self) -> SocketListener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> SocketListener:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


_OurSocket = socket  # whose name is an argument above


def _backlog(function: str, backlog: int | None) -> int:
    if backlog is None:
        return _BACKLOG
    if not isinstance(backlog, int):
        raise TypeError(f"{function}(): backlog must be an int, not {type(backlog).__name__}")
    if backlog < 1:
        raise ValueError(f"{function}(): backlog must be at least 1, not {backlog}")
    return min(backlog, 2**31 - 1)


# --- TCP --------------------------------------------------------------------------------------


def _listen(
    targets: Sequence[Target], port: int, backlog: int, *, reuse_port: bool
) -> Generator[Any, Any, list[SocketListener]]:
    """One listener per address, all on the same port. None is left open if that fails."""
    listeners: list[SocketListener] = []
    missing: list[OSError] = []
    try:
        for family, kind, proto, _, (host, _, *scope) in targets:
            try:
                sock = socket(family, kind, proto)
            except OSError as error:
                if error.errno not in _NO_FAMILY:
                    raise
                missing.append(error)
                continue
            try:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
                if reuse_port:
                    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
                if family == _socket.AF_INET6:
                    sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
                yield sock.bind((host, port, *scope))
                sock.listen(backlog)
                listeners.append(SocketListener(sock))
            except OSError as error:
                sock.close()
                if error.errno not in _NO_FAMILY or len(targets) == 1:
                    raise
                missing.append(error)
                continue
            except BaseException:
                sock.close()
                raise
            port = port or sock.getsockname()[1]
        if not listeners:
            raise missing[0]
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _open_tcp_listeners(
    port: int, host: str | None, backlog: int, *, reuse_port: bool
) -> Generator[Any, Any, list[SocketListener]]:
    found = yield getaddrinfo(host, port, type=_socket.SOCK_STREAM, flags=_socket.AI_PASSIVE)
    targets = list(dict.fromkeys(found))
    attempts = _PORT_ATTEMPTS if port == 0 and len(targets) > 1 else 1
    while True:
        attempts -= 1
        try:
            return (yield from _listen(targets, port, backlog, reuse_port=reuse_port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not attempts:
                raise


def open_tcp_listeners(
    port: int,
    *,
    host: str | None = None,
    backlog: int | None = None,
    reuse_port: bool = False,
) -> Operation[list[SocketListener]]:
    """Listens on a port: yield or await; the result is a list of `SocketListener`.

    There is one per address of `host`; by default these are all of this machine's, which is one
    listener for IPv6 and one for IPv4. Port 0 is any that is free, the same for all of them.
    `backlog` is how many connections may wait to be accepted; the system has a limit of its own.
    With `reuse_port` several processes may listen on the port, and the system shares the
    connections out.

    Raises `OSError` (EADDRINUSE: the port is taken), `socket.gaierror`, `TypeError`, `ValueError`.

        for listener in (yield tonio.net.open_tcp_listeners(0, host="127.0.0.1")):
            print(listener.socket.getsockname())
    """
    check_port("open_tcp_listeners", port)
    if host is not None and not isinstance(host, str | bytes):
        raise TypeError(f"open_tcp_listeners(): host must be a str, not {type(host).__name__}")
    size = _backlog("open_tcp_listeners", backlog)
    return delegate(_open_tcp_listeners(port, host, size, reuse_port=bool(reuse_port)))


# --- Unix -------------------------------------------------------------------------------------


def _is_stale(path: str | bytes) -> bool:
    """Is there a socket at the path on which nobody listens any more?"""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:  # somebody listens who has much to do, or we may not ask
            return False
    return False


def _bind_unix(path: str | bytes, mode: int | None, backlog: int) -> SocketListener:
    """Blocks, if the disk does."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    named = path[:1] not in ("\0", b"\0")
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not named:
                raise
            if not _is_stale(path):
                message = f"{os.strerror(error.errno)}, and not by a socket that nobody listens on"
                raise OSError(error.errno, message, path) from None
            os.unlink(path)
            sock.bind(path)
        # Nobody can connect before listen(): the permissions are never wider than they should be.
        if named and mode is not None:
            os.chmod(path, mode)
        made = os.lstat(path) if named else None
        sock.listen(backlog)
        listener = SocketListener(from_stdlib_socket(sock))
    except BaseException:
        sock.close()
        raise
    if made is not None:
        listener._file = (os.path.abspath(path), made)
    return listener


def _open_unix_listener(
    path: str | bytes, mode: int | None, backlog: int
) -> Generator[Any, Any, SocketListener]:
    listener: SocketListener = yield spawn_blocking(_bind_unix, path, mode, backlog)
    return listener


def open_unix_listener(
    path: str | bytes | os.PathLike[str], *, mode: int | None = None, backlog: int | None = None
) -> Operation[SocketListener]:
    """Listens on a Unix socket: yield or await; the result is a `SocketListener`.

    `mode` is the permissions of the file (by default what the umask leaves). A socket file that a
    dead process has left is replaced; one on which somebody listens, or a file of another kind, is
    not. The file goes when the listener is closed. A path that begins with NUL is an abstract name.

    Raises `OSError` (EADDRINUSE: somebody listens there), `TypeError`, `ValueError`.

        listener = yield tonio.net.open_unix_listener("/run/service.sock", mode=0o660)
    """
    if mode is not None and not isinstance(mode, int):
        raise TypeError(f"open_unix_listener(): mode must be an int, not {type(mode).__name__}")
    size = _backlog("open_unix_listener", backlog)
    return delegate(_open_unix_listener(os.fspath(path), mode, size))


# --- inherited --------------------------------------------------------------------------------


def inherited_listeners() -> list[SocketListener]:
    """The listeners that this process was started with, as systemd and others pass them.

    The environment variable LISTEN_FDS says how many descriptors there are, from 3 on; LISTEN_PID,
    if it is set, whose they are. Both are removed, so that no child believes to be meant and a
    second call gives nothing. The list is empty if there are none.

    Raises `ValueError` if a variable is no number or a descriptor no listening stream socket,
    `OSError` if it is not open.

        listeners = inherited_listeners() or (yield open_tcp_listeners(8000))
    """
    names = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
    count, pid, _ = (os.environ.pop(name, None) for name in names)
    try:
        if count is None or (pid is not None and int(pid) != os.getpid()):
            return []
        number = int(count)
    except ValueError:
        raise ValueError(
            f"LISTEN_FDS and LISTEN_PID must be numbers, not {count!r} and {pid!r}"
        ) from None
    sockets: list[socket] = []
    try:
        for fd in range(_FIRST_INHERITED, _FIRST_INHERITED + number):
            os.set_inheritable(fd, False)
            sockets.append(socket(fileno=fd))
        return [SocketListener(sock) for sock in sockets]
    except BaseException:
        for sock in sockets:
            sock.close()
        raise


def close_stream(stream: ByteStream) -> Generator[Any, Any]:
    """Closes a stream of whichever kind: some have to wait for it."""
    closing = stream.close()
    if closing is not None:
        yield closing
