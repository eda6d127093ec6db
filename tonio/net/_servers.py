"""Servers: `serve_listeners`, `serve_tcp`, `serve_unix`."""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from typing import Any, Never

from tonio._core import (
    Operation,
    Scope,
    Semaphore,
    delegate,
    report_error,
    scope,
    sleep,
    time,
)
from tonio.exceptions import ResourceBroken, ResourceClosed, TaskCancelled
from tonio.net._listeners import (
    Listener,
    close_stream,
    open_tcp_listeners,
    open_unix_listener,
)
from tonio.net._streams import SocketStream

__all__ = ["serve_listeners", "serve_tcp", "serve_unix"]

logger = logging.getLogger("tonio.net")

type Handler[S] = Callable[[S], Any]

_RETRY_SECONDS = 0.1  # how long to wait for descriptors or memory before the next accept
_MOST_DRAINED = 4096  # connections that are taken from the system's queue when a server stops

# There will be more of these when some connection has ended.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class _Server:
    """What the tasks of one server share. Any thread."""

    def __init__(
        self, handler: Handler[Any], limit: int | None, accepting: Scope, handling: Scope
    ) -> None:
        self.handler = handler
        self.permits = None if limit is None else Semaphore(limit)
        self.accepting = accepting
        self.handling = handling
        self.failure: Exception | None = None  # of accepting: one of them, if there are several

    def accept(self, listener: Listener) -> Generator[Any, Any]:
        """The task of a listener. One that fails ends all."""
        try:
            yield from self.accept_each(listener)
        except Exception as error:  # noqa: BLE001 - raised by the server
            self.failure = error
            self.accepting.cancel()

    def accept_each(self, listener: Listener) -> Generator[Any, Any, Never]:
        exhausted = False
        while True:
            if self.permits is not None:
                yield self.permits.acquire()
            try:
                stream = yield listener.accept()
            except BaseException as error:
                self.release()
                if not isinstance(error, OSError) or error.errno not in _EXHAUSTED:
                    raise
                if not exhausted:
                    logger.warning("cannot accept a connection, and try again: %s", error)
                exhausted = True
                yield sleep(_RETRY_SECONDS)
                continue
            exhausted = False
            self.handling.spawn(self.handle(stream))

    def drain(self, listener: Listener) -> Generator[Any, Any]:
        """Takes the connections that the system has accepted for us already."""
        with suppress(OSError, ResourceClosed):  # nothing is left: TimeoutError
            for _ in range(_MOST_DRAINED):
                if self.permits is not None:
                    yield self.permits.acquire()
                try:
                    stream = yield listener.accept(timeout=0)
                except BaseException:
                    self.release()
                    raise
                self.handling.spawn(self.handle(stream))

    def release(self) -> None:
        if self.permits is not None:
            self.permits.release()

    def handle(self, stream: Any) -> Generator[Any, Any]:
        """The task of a connection. Whatever goes wrong in it costs this connection only."""
        try:
            try:
                if (yield from self.prepare(stream)):
                    coro = self.handler(stream)
                    if coro is None:
                        raise TypeError(
                            f"the handler {self.handler!r} must return a coroutine or generator, "
                            "not None"
                        )
                    yield coro
            finally:
                yield from close_stream(stream)
        except Exception as error:  # noqa: BLE001 - nobody waits for it
            report_error(error, f"in the handler {self.handler!r} of a connection")
        finally:
            self.release()

    def prepare(self, stream: Any) -> Generator[Any, Any, bool]:
        """What comes before the handler: the handshake of a TLS stream. False: it has failed.

        That is the other side's doing, so it is told and not an error.
        """
        handshake = getattr(stream, "handshake", None)
        if handshake is None:
            return True
        try:
            yield handshake()
        except (ResourceBroken, TimeoutError) as error:
            logger.warning("a connection was not served: %s", error)
            return False
        return True


def _serve(
    handler: Handler[Any], listeners: Sequence[Listener], limit: int | None, grace: float
) -> Generator[Any, Any, Never]:
    try:
        # The tasks that accept are in the outer scope, so a cancellation from outside ends them at
        # once; those that handle are behind a shield until the time of grace is over.
        with scope() as accepting:
            with scope(shield=True) as handling:
                server = _Server(handler, limit, accepting, handling)
                tasks = [accepting.spawn(server.accept(listener)) for listener in listeners]
                for task in tasks:
                    with suppress(TaskCancelled):
                        yield task
                handling.deadline = time() + grace
                if grace > 0:
                    for listener in listeners:
                        yield from server.drain(listener)
                for listener in listeners:
                    listener.close()
            yield handling()
        yield accepting()
        if server.failure is not None:
            raise server.failure
        while True:
            yield  # cancelled: raises it
    finally:
        for listener in listeners:
            listener.close()


def _check(function: str, handler: Any, max_connections: int | None, grace: float) -> float:
    """Raises what is wrong with the options; the grace in seconds."""
    if not callable(handler):
        raise TypeError(f"{function}(): handler must be callable, not {type(handler).__name__}")
    if max_connections is not None:
        if not isinstance(max_connections, int):
            raise TypeError(
                f"{function}(): max_connections must be an int, not "
                f"{type(max_connections).__name__}"
            )
        if max_connections < 1:
            raise ValueError(f"{function}(): max_connections must be at least 1")
    if math.isnan(grace) or grace < 0:
        raise ValueError(f"{function}(): grace must be a number of seconds, not {grace}")
    return float(grace)


def serve_listeners[S](
    handler: Handler[S],
    listeners: Iterable[Listener],
    *,
    max_connections: int | None = None,
    grace: float = 0,
) -> Operation[Never]:
    """Serves connections until it is cancelled: yield or await.

    Each connection gets a task that runs `handler(stream)`, a coroutine or generator, and closes
    the stream when that ends. The error of a handler is reported to `sys.unraisablehook` and does
    not disturb the others. At most `max_connections` are served at a time; others wait to be
    accepted. When the system has no descriptors left, this is logged (logger "tonio.net") and tried
    again. The listeners are closed in the end.

    When it is cancelled nothing more is accepted, but what the system had accepted by then; the
    handlers have `grace` seconds to end (0: none, infinity: any time) and are then cancelled too.

    Raises what accepting raises, `ResourceClosed` when somebody closes the listeners; `TypeError`
    or `ValueError` for bad arguments.

        listeners = yield tonio.net.open_tcp_listeners(8000)
        yield tonio.net.serve_listeners(handler, listeners, grace=10)
    """
    seconds = _check("serve_listeners", handler, max_connections, grace)
    several = list(listeners)
    if not several:
        raise ValueError("serve_listeners(): listeners must not be empty")
    return delegate(_serve(handler, several, max_connections, seconds))


def _open_and_serve(
    opening: Operation[Any], handler: Handler[Any], limit: int | None, grace: float
) -> Generator[Any, Any, Never]:
    opened = yield opening
    listeners = opened if isinstance(opened, list) else [opened]
    yield from _serve(handler, listeners, limit, grace)
    raise AssertionError  # that does not return


def serve_opened(
    function: str,
    opening: Operation[Any],
    handler: Handler[Any],
    max_connections: int | None,
    grace: float,
) -> Operation[Never]:
    """Serves what an operation opens: one listener or a list."""
    seconds = _check(function, handler, max_connections, grace)
    return delegate(_open_and_serve(opening, handler, max_connections, seconds))


def serve_tcp(
    handler: Handler[SocketStream],
    port: int,
    *,
    host: str | None = None,
    backlog: int | None = None,
    reuse_port: bool = False,
    max_connections: int | None = None,
    grace: float = 0,
) -> Operation[Never]:
    """Serves a TCP port until it is cancelled: `open_tcp_listeners` and `serve_listeners` in one.

    def echo(stream):
        for operation in stream:
            yield stream.send_all((yield operation))

    yield tonio.net.serve_tcp(echo, 8000, grace=10)
    """
    opening = open_tcp_listeners(port, host=host, backlog=backlog, reuse_port=reuse_port)
    return serve_opened("serve_tcp", opening, handler, max_connections, grace)


def serve_unix(
    handler: Handler[SocketStream],
    path: str | bytes | os.PathLike[str],
    *,
    mode: int | None = None,
    backlog: int | None = None,
    max_connections: int | None = None,
    grace: float = 0,
) -> Operation[Never]:
    """Serves a Unix socket until it is cancelled: `open_unix_listener` and `serve_listeners`.

    yield tonio.net.serve_unix(handler, "/run/service.sock", mode=0o660)
    """
    opening = open_unix_listener(path, mode=mode, backlog=backlog)
    return serve_opened("serve_unix", opening, handler, max_connections, grace)
