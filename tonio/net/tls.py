"""TLS over any stream, by the standard `ssl` module: no socket of its own, only memory.

An OpenSSL object is not for two threads at a time. A plain lock guards it and the two memory
buffers; nothing waits while it is held. What comes out of the object must be sent in order, so who
sends takes bytes and passes them on under one (waiting) lock; likewise who receives.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Never

from tonio._core import Lock, Operation, delegate, spawn_blocking
from tonio._core import timeout as with_timeout
from tonio.exceptions import ResourceBroken, ResourceBusy, ResourceClosed, WouldBlock
from tonio.net._listeners import Listener, SocketListener, close_stream, open_tcp_listeners
from tonio.net._servers import Handler, serve_opened
from tonio.net._streams import ByteStream, SocketStream, check_host, open_tcp_stream

__all__ = [
    "TLSListener",
    "TLSStream",
    "open_tls_over_tcp_listeners",
    "open_tls_over_tcp_stream",
    "serve_tls_over_tcp",
]

_RECORD = 16384  # bytes of data in one TLS record at most
_PIECE = 65536  # what is encrypted, sent, received at a time
_CLOSE_SECONDS = 5.0  # how long close() tries to say goodbye to somebody who does not listen


class TLSStream[S: ByteStream]:
    """An encrypted stream over another one. All waiting methods are yielded or awaited.

    `transport` is a `SocketStream` or anything that has `receive_some`, `send_all` and `close`;
    `server_side` tells who answers. For a client `server_hostname` is the name that the
    certificate must have. The handshake comes by itself with the first bytes.

    As with a `SocketStream`, one task may receive while another sends, on any thread; a second one
    in the same direction gets `ResourceBusy`. A connection that ends without the goodbye of TLS may
    have been cut off by somebody, so that is `ResourceBroken`; with `https_compatible` it is an end
    like any other, for protocols that know where their messages end.

    An asynchronous context manager; iterating gives what comes, in pieces (`async for`).

    Raises `TypeError` or `ValueError` for bad arguments.

        stream = TLSStream(plain, ssl.create_default_context(), server_hostname="localhost")
        yield stream.send_all(b"hello")
        yield stream.close()
    """

    __slots__ = (
        "__weakref__",
        "_broken",
        "_decrypted",
        "_ended",
        "_established",
        "_feeding",
        "_flushing",
        "_guard",
        "_handshake_timeout",
        "_handshaking",
        "_https_compatible",
        "_incoming",
        "_object",
        "_outgoing",
        "_receiving",
        "_sending",
        "_times_fed",
        "transport",
    )

    def __init__(
        self,
        transport: S,
        ssl_context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
        https_compatible: bool = False,
        handshake_timeout: float | None = None,
    ) -> None:
        _check_context("TLSStream", ssl_context)
        self.transport = transport
        self._https_compatible = https_compatible
        self._handshake_timeout = handshake_timeout
        self._guard = threading.Lock()  # guards the next five
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = ssl_context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
        )
        self._decrypted = b""  # what was taken out before it was asked for
        self._times_fed = 0
        self._flushing = Lock()  # from _outgoing to the transport
        self._feeding = Lock()  # from the transport to _incoming
        self._handshaking = Lock()
        self._sending = Lock()  # who is sending, and who is receiving, in the user's eyes
        self._receiving = Lock()
        # Set once, by whoever learns of it; the others see it at their next step.
        self._established = False
        self._broken: BaseException | None = None
        self._ended: str | None = None  # why nothing more is possible on this side

    def __repr__(self) -> str:
        return f"<TLSStream over {self.transport!r}>"

    # --- moving bytes

    def _flush(self) -> Generator[Any, Any]:
        """Sends what OpenSSL has to say."""
        with (yield self._flushing()):
            with self._guard:
                data = self._outgoing.read()
            if not data:
                return
            try:
                yield self.transport.send_all(data)
            except BaseException as error:
                # Half a record may be out there: nothing that follows can be understood.
                self._broken = self._broken or error
                raise

    def _feed(self, times: int) -> Generator[Any, Any]:
        """Receives something for OpenSSL, unless another task has done so since `times`."""
        with (yield self._feeding()):
            if self._times_fed != times:
                return
            data = yield self.transport.receive_some(_PIECE)
            with self._guard:
                self._times_fed += 1
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()

    def _call[**P, T](
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Generator[Any, Any, T]:
        """Has OpenSSL do something, and the bytes moved that it takes."""
        while True:
            wants_more = False
            with self._guard:
                times = self._times_fed
                try:
                    result = function(*args, **kwargs)
                except ssl.SSLWantReadError:
                    wants_more = True
                except ssl.SSLError as error:
                    self._broken = self._broken or error
                pending = self._outgoing.pending
            if self._broken is not None:
                raise (yield from self._failure(self._broken))
            if pending:
                yield from self._flush()
            if not wants_more:
                return result
            yield from self._feed(times)

    def _failure(self, error: BaseException) -> Generator[Any, Any, ResourceBroken]:
        """What to raise for what broke the connection; the other side is told, if it can be."""
        if isinstance(error, ssl.SSLError):
            with suppress(ResourceBroken, ResourceClosed, ResourceBusy):
                yield with_timeout(self._flush(), _CLOSE_SECONDS)
            message = f"TLS has failed: {error}"
        else:
            message = "the TLS connection was given up in the middle of a record"
        broken = ResourceBroken(message)
        broken.__cause__ = error
        return broken

    def _check(self) -> None:
        if self._ended is not None:
            raise ResourceClosed(self._ended)

    # --- the handshake

    def _shake(self) -> Generator[Any, Any]:
        if self._established:
            return
        with (yield self._handshaking()):
            if not self._established:  # another task may have been at it
                yield from self._shake_in_time(self._handshake_timeout)

    def _shake_in_time(self, limit: float | None) -> Generator[Any, Any]:
        _, in_time = yield with_timeout(self._call(self._object.do_handshake), limit)
        if not in_time:
            late = TimeoutError(f"the TLS handshake took longer than {limit} seconds")
            self._broken = self._broken or late
            raise late
        self._established = True

    def _handshake(self) -> Generator[Any, Any]:
        self._check()
        yield from self._shake()

    def handshake(self) -> Operation[None]:
        """Does the handshake, or waits for it; nothing if it was done: yield or await.

        Raises `ResourceBroken` if it fails (the `ssl.SSLError` is the cause), `TimeoutError` if it
        takes longer than this stream allows for it, `ResourceClosed`.
        """
        return delegate(self._handshake())

    # --- sending

    def _send_all(self, view: memoryview) -> Generator[Any, Any]:
        with _alone(self._sending, "sending to"):
            self._check()
            yield from self._shake()
            start = 0
            while start < len(view):
                piece = view[start : start + _PIECE]
                start += yield from self._call(self._object.write, piece)

    def send_all(self, data: Any) -> Operation[None]:
        """Encrypts and sends all of `data` (bytes-like): yield or await; the result is None.

        When it is cancelled on the way the connection is broken. Raises `ResourceBroken`,
        `ResourceClosed` after `close`, `unwrap` or `send_eof`, `ResourceBusy` if another task is
        sending, `TypeError` for what is not bytes.
        """
        if isinstance(data, str):
            raise TypeError("send_all(): data must be bytes, not str: encode it first")
        return delegate(self._send_all(memoryview(data).cast("B")))

    # --- receiving

    def _read(self, limit: int) -> bytes:
        """Under the guard: what is there; b'' is the end."""
        pieces: list[bytes] = []
        if self._decrypted:
            pieces.append(self._decrypted[:limit])
            self._decrypted = self._decrypted[limit:]
            limit -= len(pieces[0])
        while limit > 0:
            try:
                piece = self._object.read(min(limit, _RECORD))
            except ssl.SSLZeroReturnError:
                break
            except ssl.SSLWantReadError:
                if not pieces:
                    raise
                break
            except ssl.SSLEOFError:
                if not pieces and not self._https_compatible:
                    raise
                break
            if not piece:
                break
            pieces.append(piece)
            limit -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _receive_some(self, limit: int) -> Generator[Any, Any, bytes]:
        with _alone(self._receiving, "receiving from"):
            if self._ended is not None and self._ended != _EOF_SENT:
                self._check()
            yield from self._shake()
            return (yield from self._call(self._read, limit))

    def receive_some(self, max_bytes: int | None = None) -> Operation[bytes]:
        """Receives and decrypts at least one byte, at most `max_bytes` (64 KiB): yield or await.

        b'' is the end. Can be cancelled without losing a byte. Raises `ResourceBroken`, also if the
        end came without a goodbye (but see `https_compatible`), `ResourceClosed`, `ResourceBusy` if
        another task is receiving, `TypeError` or `ValueError` for a bad number.
        """
        if max_bytes is None:
            max_bytes = _PIECE
        if not isinstance(max_bytes, int):
            raise TypeError(f"max_bytes must be an int, not {type(max_bytes).__name__}")
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        return delegate(self._receive_some(max_bytes))

    def __aiter__(self) -> TLSStream[S]:
        return self

    async def __anext__(self) -> bytes:
        data = await self.receive_some()
        if not data:
            raise StopAsyncIteration
        return data

    # --- the end

    def _goodbye(self) -> None:
        """Under the guard: says that nothing more will come, without waiting for an answer.

        OpenSSL looks for the answer all the same, and would drop data that is there instead: it is
        taken out before.
        """
        most = len(self._decrypted) + self._incoming.pending + _RECORD
        with suppress(ssl.SSLWantReadError, ssl.SSLEOFError):
            self._decrypted = self._read(most)
        with suppress(ssl.SSLWantReadError):
            self._object.unwrap()

    def _send_eof(self) -> Generator[Any, Any]:
        with _alone(self._sending, "sending to"):
            if self._ended == _EOF_SENT:
                return
            self._check()
            yield from self._shake()
            self._ended = _EOF_SENT
            yield from self._call(self._goodbye)

    def send_eof(self) -> Operation[None]:
        """Says that nothing more will be sent: yield or await. Receiving goes on.

        Raises `ResourceBroken`, `ResourceClosed`, `ResourceBusy` if another task is sending.
        """
        return delegate(self._send_eof())

    def _unwrap(self) -> Generator[Any, Any, tuple[S, bytes]]:
        with _alone(self._sending, "sending to"), _alone(self._receiving, "receiving from"):
            if self._ended != _EOF_SENT:
                self._check()
            yield from self._shake()
            yield from self._call(self._object.unwrap)
            self._ended = "unwrap() was called: use the transport"
            with self._guard:
                rest = self._incoming.read()
            return self.transport, rest

    def unwrap(self) -> Operation[tuple[S, bytes]]:
        """Ends TLS and goes on without: yield or await; the result is (transport, bytes).

        Both sides say goodbye. The bytes are those which came behind the other side's: they belong
        to what follows on the transport. Raises `ResourceBroken`, `ResourceClosed`, `ResourceBusy`.
        """
        return delegate(self._unwrap())

    def _close(self) -> Generator[Any, Any]:
        ended = self._ended
        if ended is None or ended == _EOF_SENT:
            self._ended = "the stream is closed"
        try:
            if ended is None and self._established and self._broken is None:
                # Whoever is gone, or is in the middle of something, needs no goodbye.
                with suppress(ResourceBroken, ResourceClosed, ResourceBusy):
                    yield with_timeout(self._call(self._goodbye), _CLOSE_SECONDS)
        finally:
            yield from close_stream(self.transport)

    def close(self) -> Operation[None]:
        """Says goodbye and closes the transport: yield or await. A second call does nothing more.

        It does not wait for an answer. When it is cancelled the transport is closed all the same.
        """
        return delegate(self._close())

    async def __aenter__(self) -> TLSStream[S]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- what was agreed on

    def selected_alpn_protocol(self) -> str | None:
        """The protocol that both sides have chosen by ALPN, once the handshake is done."""
        with self._guard:
            return self._object.selected_alpn_protocol()

    def version(self) -> str | None:
        """The version of TLS, as "TLSv1.3"; None before the handshake."""
        with self._guard:
            return self._object.version()

    def cipher(self) -> tuple[str, str, int] | None:
        """Name, TLS version and bits of the cipher; None before the handshake."""
        with self._guard:
            return self._object.cipher()

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The certificate of the other side, as `ssl.SSLSocket.getpeercert` gives it."""
        with self._guard:
            return self._object.getpeercert(binary_form)


_EOF_SENT = "send_eof() was called: nothing more can be sent"


def _alone(lock: Lock, what: str) -> Any:
    """A context manager: one task at a time, and another is told so."""
    try:
        return lock.or_raise()
    except WouldBlock:
        raise ResourceBusy(f"another task is already {what} this stream") from None


def _check_context(function: str, ssl_context: Any) -> None:
    if not isinstance(ssl_context, ssl.SSLContext):
        raise TypeError(
            f"{function}(): ssl_context must be an ssl.SSLContext, not {type(ssl_context).__name__}"
        )


# --- listeners --------------------------------------------------------------------------------


class TLSListener[L: Listener]:
    """Makes a `TLSStream` of each connection that another listener accepts.

    The handshake is not done here but in the task that handles the connection, where it has
    `handshake_timeout` seconds: a client that says nothing holds up nobody.

        listener = TLSListener(plain, context)
        stream = yield listener.accept()
    """

    __slots__ = (
        "__weakref__",
        "_handshake_timeout",
        "_https_compatible",
        "_ssl_context",
        "transport",
    )

    def __init__(
        self,
        transport: L,
        ssl_context: ssl.SSLContext,
        *,
        https_compatible: bool = False,
        handshake_timeout: float | None = 30,
    ) -> None:
        _check_context("TLSListener", ssl_context)
        self.transport = transport
        self._ssl_context = ssl_context
        self._https_compatible = https_compatible
        self._handshake_timeout = handshake_timeout

    def __repr__(self) -> str:
        return f"<TLSListener over {self.transport!r}>"

    def _accept(self, timeout: float | None) -> Generator[Any, Any, TLSStream[Any]]:
        stream = yield self.transport.accept(timeout=timeout)
        return TLSStream(
            stream,
            self._ssl_context,
            server_side=True,
            https_compatible=self._https_compatible,
            handshake_timeout=self._handshake_timeout,
        )

    def accept(self, *, timeout: float | None = None) -> Operation[TLSStream[Any]]:
        """Waits for a connection: yield or await; the result is a `TLSStream`.

        Raises what the listener below raises.
        """
        return delegate(self._accept(timeout))

    def close(self) -> None:
        """Closes the listener below."""
        self.transport.close()

    def __enter__(self) -> TLSListener[L]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> TLSListener[L]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


# --- in one -----------------------------------------------------------------------------------


def _open_stream(
    opening: Operation[SocketStream],
    host: str,
    ssl_context: ssl.SSLContext | None,
    *,
    https_compatible: bool,
) -> Generator[Any, Any, TLSStream[SocketStream]]:
    stream = yield opening
    try:
        if ssl_context is None:  # it reads hundreds of certificates from the disk
            ssl_context = yield spawn_blocking(ssl.create_default_context)
        assert ssl_context is not None
        return TLSStream(
            stream, ssl_context, server_hostname=host, https_compatible=https_compatible
        )
    except BaseException:
        stream.close()
        raise


def open_tls_over_tcp_stream(
    host: str,
    port: int,
    *,
    https_compatible: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    happy_eyeballs_delay: float = 0.25,
) -> Operation[TLSStream[SocketStream]]:
    """Connects to a host as `open_tcp_stream` does, for TLS: yield or await; gives a `TLSStream`.

    The certificate must be for `host` and be trusted by `ssl_context`, by default the system's. The
    handshake comes with the first bytes, or `handshake()`.

        stream = yield open_tls_over_tcp_stream("localhost", 8443, ssl_context=context)
    """
    check_host("open_tls_over_tcp_stream", host)
    if ssl_context is not None:
        _check_context("open_tls_over_tcp_stream", ssl_context)
    opening = open_tcp_stream(host, port, happy_eyeballs_delay=happy_eyeballs_delay)
    return delegate(_open_stream(opening, host, ssl_context, https_compatible=https_compatible))


def _open_listeners(
    opening: Operation[list[SocketListener]], ssl_context: ssl.SSLContext, options: dict[str, Any]
) -> Generator[Any, Any, list[TLSListener[SocketListener]]]:
    listeners = yield opening
    return [TLSListener(listener, ssl_context, **options) for listener in listeners]


def open_tls_over_tcp_listeners(
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
    reuse_port: bool = False,
    handshake_timeout: float | None = 30,
) -> Operation[list[TLSListener[SocketListener]]]:
    """Listens on a port as `open_tcp_listeners` does, for TLS; gives a list of `TLSListener`.

    listeners = yield open_tls_over_tcp_listeners(8443, context, host="127.0.0.1")
    """
    _check_context("open_tls_over_tcp_listeners", ssl_context)
    opening = open_tcp_listeners(port, host=host, backlog=backlog, reuse_port=reuse_port)
    options = {"https_compatible": https_compatible, "handshake_timeout": handshake_timeout}
    return delegate(_open_listeners(opening, ssl_context, options))


def serve_tls_over_tcp(
    handler: Handler[TLSStream[SocketStream]],
    port: int,
    ssl_context: ssl.SSLContext,
    *,
    host: str | None = None,
    https_compatible: bool = False,
    backlog: int | None = None,
    reuse_port: bool = False,
    handshake_timeout: float | None = 30,
    max_connections: int | None = None,
    grace: float = 0,
) -> Operation[Never]:
    """Serves a TCP port with TLS until it is cancelled, otherwise as `serve_tcp`.

    The handler is called when the handshake is done. One that fails is logged (logger "tonio.net").

        yield serve_tls_over_tcp(handler, 8443, context, grace=10)
    """
    opening = open_tls_over_tcp_listeners(
        port,
        ssl_context,
        host=host,
        https_compatible=https_compatible,
        backlog=backlog,
        reuse_port=reuse_port,
        handshake_timeout=handshake_timeout,
    )
    return serve_opened("serve_tls_over_tcp", opening, handler, max_connections, grace)
