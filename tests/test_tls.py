"""TLS streams and servers, among themselves and with other programs."""

import hashlib
import socket as stdlib_socket
import ssl
import subprocess
from typing import Any

import pytest
from certificates import certificate, needs_openssl
from helpers import Unraisables, open_descriptors
from kinds import FACTOR
from notation import both

import tonio.colored as tonio
from tonio.colored import net
from tonio.colored.net import SocketStream, tls
from tonio.colored.net.tls import TLSListener, TLSStream
from tonio.exceptions import ResourceBroken, ResourceBusy, ResourceClosed

pytestmark = needs_openssl


async def plain_pair() -> tuple[SocketStream, SocketStream]:
    (listener,) = await net.open_tcp_listeners(0, host="127.0.0.1")
    with listener:
        host, port = listener.socket.getsockname()
        client = await net.open_tcp_stream(host, port)
        return client, await listener.accept()


def wrap(
    client: Any, server: Any, *, alpn: tuple[list[str], list[str]] | None = None, **options: Any
) -> tuple[TLSStream[Any], TLSStream[Any]]:
    """The two ends of a TLS connection over two ends of another one; the client's first."""
    mine, theirs = alpn or ([], [])
    good = certificate()
    return (
        TLSStream(client, good.client(mine), server_hostname="localhost", **options),
        TLSStream(server, good.server(theirs), server_side=True, **options),
    )


async def tls_pair(**options: Any) -> tuple[TLSStream[Any], TLSStream[Any]]:
    """Both ends, after the handshake."""
    client, server = await plain_pair()
    left, right = wrap(client, server, **options)
    async with tonio.scope() as scope:
        scope.spawn(left.handshake())
        scope.spawn(right.handshake())
    return left, right


async def close(*streams: TLSStream[Any]) -> None:
    for stream in streams:
        await stream.close()


async def serve(handler: Any, **options: Any) -> tuple[Any, int]:
    """A listener with the good certificate, and its port."""
    context = certificate().server(options.pop("alpn", None))
    listeners = await tls.open_tls_over_tcp_listeners(0, context, host="127.0.0.1", **options)
    return listeners[0], listeners[0].transport.socket.getsockname()[1]


async def echo(stream: TLSStream[Any]) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)


# --- between two of ours


@both
async def test_bytes_go_both_ways() -> None:
    left, right = await tls_pair()
    await left.send_all(b"ping")
    assert await right.receive_some() == b"ping"
    await right.send_all(bytearray(b"pong"))
    assert await left.receive_some(2) == b"po"
    assert await left.receive_some() == b"ng"
    assert left.version() == right.version() == "TLSv1.3"
    cipher = left.cipher()
    assert cipher is not None
    assert cipher[1] == "TLSv1.3"
    assert ("DNS", "localhost") in left.getpeercert()["subjectAltName"]
    assert "TLSStream over <SocketStream" in repr(left)
    await close(left, right)


@both
async def test_the_protocol_is_agreed_on() -> None:
    left, right = await tls_pair(alpn=(["h2", "http/1.1"], ["http/1.1"]))
    assert left.selected_alpn_protocol() == right.selected_alpn_protocol() == "http/1.1"
    await close(left, right)


@both
async def test_the_server_name_is_sent() -> None:
    asked: list[str | None] = []
    context = certificate().server()
    context.sni_callback = lambda _object, name, _context: asked.append(name)
    client, server = await plain_pair()
    left = TLSStream(client, certificate().client(), server_hostname="localhost")
    right = TLSStream(server, context, server_side=True)
    async with tonio.scope() as scope:
        scope.spawn(left.handshake())
        scope.spawn(right.handshake())
    assert asked == ["localhost"]
    await close(left, right)


@both
async def test_much_in_both_directions_from_two_tasks() -> None:
    size = 4_000_000
    block = bytes(range(256)) * 157
    left, right = await tls_pair()
    digests: dict[str, list[str]] = {"sent": [], "received": []}

    async def send(stream: TLSStream[Any], first: int) -> None:
        digest, sent = hashlib.sha256(), 0
        while sent < size:
            piece = bytes([first]) + block[: size - sent - 1]
            digest.update(piece)
            await stream.send_all(piece)
            sent += len(piece)
        await stream.send_eof()
        digests["sent"].append(digest.hexdigest())

    async def receive(stream: TLSStream[Any]) -> None:
        digest = hashlib.sha256()
        while data := await stream.receive_some():
            digest.update(data)
        digests["received"].append(digest.hexdigest())

    async with tonio.scope() as scope:
        scope.spawn(send(left, 1))
        scope.spawn(send(right, 2))
        scope.spawn(receive(left))
        scope.spawn(receive(right))
    assert sorted(digests["sent"]) == sorted(digests["received"])
    assert len(set(digests["sent"])) == 2
    await close(left, right)


@both
async def test_tls_runs_over_tls() -> None:
    outer = await tls_pair()
    left, right = wrap(*outer)
    async with tonio.scope() as scope:
        scope.spawn(left.send_all(b"deep"))
        assert await right.receive_some() == b"deep"
    await close(left, right)


@both(notations=["await"])
async def test_with_and_for() -> None:
    left, right = await tls_pair()
    async with left, right:
        await left.send_all(b"one")
        await left.send_eof()
        assert [piece async for piece in right] == [b"one"]
    with pytest.raises(ResourceClosed):
        await left.receive_some()


@both
async def test_one_reader_and_one_writer() -> None:
    left, right = await tls_pair()

    async def receive() -> None:
        while True:
            try:
                await left.receive_some()
                break
            except ResourceBusy:  # by the question below
                await tonio.yield_now()

    async with tonio.scope() as scope:
        scope.spawn(receive())
        while True:
            try:
                _, done = await tonio.time.timeout(left.receive_some(), 0)
            except ResourceBusy:
                break
            assert not done
        with pytest.raises(ResourceBusy, match="receiving"):
            await left.unwrap()
        await right.send_all(b"x")
    await close(left, right)


@both
async def test_cancelling_a_receive_loses_nothing() -> None:
    left, right = await tls_pair()
    for number in range(20):
        assert await tonio.time.timeout(right.receive_some(), 0) == (None, False)
        await left.send_all(b"%d" % number)
        assert await right.receive_some() == b"%d" % number
    await close(left, right)


# --- the end


@both
async def test_half_closed_goes_on_in_the_other_direction() -> None:
    left, right = await tls_pair()
    await left.send_all(b"question")
    await left.send_eof()
    await left.send_eof()
    with pytest.raises(ResourceClosed, match="send_eof"):
        await left.send_all(b"more")
    assert await right.receive_some() == b"question"
    assert await right.receive_some() == b""
    await right.send_all(b"answer")
    assert await left.receive_some() == b"answer"
    await right.close()
    assert await left.receive_some() == b""
    await left.close()


@both
async def test_half_closed_while_much_is_on_its_way() -> None:
    left, right = await tls_pair()
    async with tonio.scope() as scope:
        scope.spawn(right.send_all(b"x" * 1_000_000))
        await left.receive_some(1)
        await left.send_eof()
        size = 1
        while size < 1_000_000:
            size += len(await left.receive_some())
    assert await right.receive_some() == b""
    await close(left, right)


@both
async def test_unwrap_gives_the_transport_back() -> None:
    left, right = await tls_pair()
    outcome: list[Any] = []

    async def other() -> None:
        outcome.append(await right.unwrap())

    async with tonio.scope() as scope:
        scope.spawn(other())
        transport, rest = await left.unwrap()
    assert (transport, rest) == (left.transport, b"")
    ((plain, rest),) = outcome
    await transport.send_all(b"plain")
    assert rest + await plain.receive_some() == b"plain"
    for ended in (left, right):
        with pytest.raises(ResourceClosed, match="unwrap"):
            await ended.send_all(b"x")
        with pytest.raises(ResourceClosed, match="unwrap"):
            await ended.receive_some()
    await close(left, right)


@both
async def test_a_connection_that_is_cut_off_is_no_end() -> None:
    left, right = await tls_pair()
    await right.send_all(b"x")  # what is unread would make a reset of the end
    await left.receive_some()
    left.transport.close()
    with pytest.raises(ResourceBroken) as caught:
        await right.receive_some()
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    with pytest.raises(ResourceBroken):
        await right.receive_some()
    await close(left, right)


@both
async def test_a_connection_that_is_cut_off_is_an_end_for_https() -> None:
    left, right = await tls_pair(https_compatible=True)
    await right.send_all(b"x")
    await left.receive_some()
    await left.send_all(b"all of it")
    left.transport.close()
    assert await right.receive_some() == b"all of it"
    assert await right.receive_some() == b""
    await close(left, right)


@both
async def test_closing_twice_and_using_it_then() -> None:
    left, right = await tls_pair()
    await left.close()
    await left.close()
    for operation in (left.send_all(b"x"), left.receive_some(), left.handshake(), left.unwrap()):
        with pytest.raises(ResourceClosed):
            await operation
    assert await right.receive_some() == b""
    await right.close()


@both
async def test_a_send_that_was_cancelled_breaks_the_stream() -> None:
    left, right = await tls_pair()
    _, in_time = await tonio.time.timeout(left.send_all(b"x" * 50_000_000), 0.05)
    assert not in_time
    with pytest.raises(ResourceBroken, match="middle"):
        await left.send_all(b"y")
    await close(left, right)


# --- what goes wrong in a handshake


async def refuse(context: ssl.SSLContext, name: str, server: Any) -> ResourceBroken:
    """What a client says of a server with this certificate."""
    client, accepted = await plain_pair()
    left = TLSStream(client, context, server_hostname=name)
    right = TLSStream(accepted, server.server(), server_side=True)
    errors: list[ResourceBroken] = []

    async def shake(stream: TLSStream[Any]) -> None:
        with pytest.raises(ResourceBroken) as caught:
            await stream.receive_some()
        if stream is left:
            errors.append(caught.value)
        await stream.close()

    async with tonio.scope() as scope:
        scope.spawn(shake(left))
        scope.spawn(shake(right))
    return errors[0]


@both
async def test_wrong_certificates_are_refused() -> None:
    good, other, expired = certificate(), certificate("elsewhere"), certificate("localhost", -1)
    for context, name, server, says in (
        (ssl.create_default_context(), "localhost", good, "self-signed"),
        (other.client(), "localhost", other, "mismatch"),
        (expired.client(), "localhost", expired, "expired"),
        (good.client(), "elsewhere", good, "mismatch"),
    ):
        error = await refuse(context, name, server)
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
        assert says in str(error)


@both
async def test_plain_text_where_tls_is_expected_and_the_reverse(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def plain(stream: SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"220 hello, this is plain text\r\n")

    listener, port = await serve(echo)
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(echo, [listener]))
        with await net.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
            while await stream.receive_some():
                pass
        scope.cancel()
    assert "a connection was not served: TLS has failed" in caplog.text

    (listener,) = await net.open_tcp_listeners(0, host="127.0.0.1")
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(plain, [listener]))
        port = listener.socket.getsockname()[1]
        context = certificate().client()
        wrong = await tls.open_tls_over_tcp_stream("127.0.0.1", port, ssl_context=context)
        with pytest.raises(ResourceBroken, match="TLS has failed"):
            await wrong.handshake()
        await wrong.close()
        scope.cancel()


@both
async def test_a_silent_client_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    listener, port = await serve(echo, handshake_timeout=0.1)
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(echo, [listener]))
        with await net.open_tcp_stream("127.0.0.1", port) as silent:
            context = certificate().client()
            stream = await tls.open_tls_over_tcp_stream("localhost", port, ssl_context=context)
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            await stream.close()
            assert await silent.receive_some(timeout=5) == b""
        scope.cancel()
    assert "handshake took longer than 0.1 seconds" in caplog.text


@both
async def test_serve_tls_and_a_failing_handler(unraisables: Unraisables) -> None:
    with stdlib_socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def handler(stream: TLSStream[SocketStream]) -> None:
        if await stream.receive_some() == b"raise":
            raise ValueError("of the handler")
        await stream.send_all(b"fine")

    async def ask(question: bytes) -> bytes:
        context = certificate().client()
        while True:
            try:
                stream = await tls.open_tls_over_tcp_stream("localhost", port, ssl_context=context)
                break
            except ConnectionRefusedError:
                await tonio.yield_now()
        await stream.send_all(question)
        answer = await stream.receive_some()
        await stream.close()
        return answer

    async with tonio.scope() as scope:
        serving = tls.serve_tls_over_tcp(handler, port, certificate().server(), host="127.0.0.1")
        scope.spawn(serving)
        assert await ask(b"raise") == b""
        assert await ask(b"?") == b"fine"
        scope.cancel()
    assert [report.type for report in unraisables.take()] == [ValueError]


def test_bad_arguments() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for call in (
        lambda: TLSStream(None, None),  # type: ignore[arg-type, type-var]
        lambda: TLSListener(None, "context"),  # type: ignore[arg-type, type-var]
        lambda: tls.open_tls_over_tcp_stream("localhost", 1, ssl_context=5),  # type: ignore[arg-type]
        lambda: tls.open_tls_over_tcp_listeners(1, None),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="ssl_context"):
            call()
    with pytest.raises(ValueError, match="port"):
        tls.serve_tls_over_tcp(echo, 70000, context)
    with pytest.raises(TypeError, match="host"):
        tls.open_tls_over_tcp_stream(None, 1)  # type: ignore[arg-type]


@both(threads=[2])
async def test_bad_bytes_and_numbers() -> None:
    left, right = await tls_pair()
    with pytest.raises(TypeError, match="encode"):
        left.send_all("text")
    with pytest.raises(TypeError):
        left.send_all(5)
    with pytest.raises(ValueError, match="max_bytes"):
        left.receive_some(0)
    with pytest.raises(TypeError, match="max_bytes"):
        left.receive_some("9")  # type: ignore[arg-type]
    await close(left, right)


@both(threads=[2])
async def test_many_bad_clients_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    listener, port = await serve(echo)
    before = len(open_descriptors())
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(echo, [listener]))
        for number in range(60):
            with await net.open_tcp_stream("127.0.0.1", port) as stream:
                if number % 3:
                    await stream.send_all(b"\x16\x03\x01" if number % 3 == 1 else b"rubbish" * 9)
        context = certificate().client()
        good = await tls.open_tls_over_tcp_stream("localhost", port, ssl_context=context)
        await good.send_all(b"hello")
        assert await good.receive_some() == b"hello"
        await good.close()
        scope.cancel()
    assert len(open_descriptors()) <= before


# --- with others


@both(threads=[2])
async def test_the_ssl_module_as_a_client() -> None:
    listener, port = await serve(echo, alpn=["echo"])

    def client() -> tuple[bytes, str | None]:
        context = certificate().client(["echo"])
        with (
            stdlib_socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as stream,
        ):
            stream.sendall(b"x" * 300_000)
            data = b""
            while len(data) < 300_000:
                data += stream.recv(65536)
            protocol = stream.selected_alpn_protocol()
            stream.unwrap().close()
            return data, protocol

    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(echo, [listener]))
        data, protocol = await tonio.spawn_blocking(client)
        scope.cancel()
    assert data == b"x" * 300_000
    assert protocol == "echo"


@both(threads=[2])
async def test_curl_as_a_client() -> None:
    async def handler(stream: TLSStream[SocketStream]) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some()
        protocol = (stream.selected_alpn_protocol() or "none").encode()
        body = protocol * 10_000
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        await stream.send_all(head + body)

    def curl() -> bytes:
        command = ["curl", "--silent", "--show-error", "--max-time", "20", "--http1.1"]
        trust = ["--cacert", str(certificate().certificate)]
        resolve = ["--resolve", f"localhost:{port}:127.0.0.1"]
        return subprocess.run(
            [*command, *trust, *resolve, f"https://localhost:{port}/"],
            check=True,
            capture_output=True,
            timeout=30 * FACTOR,
        ).stdout

    listener, port = await serve(handler, alpn=["http/1.1"])
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(handler, [listener]))
        assert await tonio.spawn_blocking(curl) == b"http/1.1" * 10_000
        scope.cancel()


@both(threads=[2])
async def test_openssl_as_a_client() -> None:
    def s_client() -> bytes:
        trust = ["-CAfile", str(certificate().certificate), "-verify_return_error"]
        command = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}", *trust]
        with subprocess.Popen(
            [*command, "-servername", "localhost"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"hello from outside\n")
            process.stdin.flush()
            line = process.stdout.readline()
            process.terminate()
            return line

    # it goes without a goodbye
    listener, port = await serve(echo, https_compatible=True)
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(echo, [listener]))
        assert await tonio.spawn_blocking(s_client) == b"hello from outside\n"
        scope.cancel()


@both(threads=[2])
async def test_openssl_as_a_server() -> None:
    good = certificate()
    with stdlib_socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-rev", "-quiet"]
    files = ["-cert", str(good.certificate), "-key", str(good.key)]
    with subprocess.Popen(  # noqa: ASYNC220 - it takes no time
        [*command, *files], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        try:
            while True:
                try:
                    stream = await tls.open_tls_over_tcp_stream(
                        "localhost", port, ssl_context=good.client()
                    )
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None
                    await tonio.sleep(0.01)
            await stream.send_all(b"hello\n")
            answer = b""
            while not answer.endswith(b"\n"):
                answer += await stream.receive_some()
            assert answer == b"olleh\n"
            await stream.close()
        finally:
            process.terminate()
