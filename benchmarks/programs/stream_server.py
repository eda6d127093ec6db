"""A server on streams, with or without TLS; prints {"port": N} when it listens, runs until killed.

    python stream_server.py CONTENDER (http|tls) [--threads N] [--certificate FILE --key FILE]

With `http` each request, which ends with an empty line, gets the same answer. With `tls` what comes
is sent back. All do it with the streams that a user of the library would take.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import ssl
from collections.abc import Callable, Generator
from typing import Any

from measure import allow_many_files, report

END = b"\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
PIECE = 65536


@dataclasses.dataclass(frozen=True)
class Options:
    kind: str
    threads: int
    context: ssl.SSLContext | None


def tonio_await(options: Options) -> None:
    import tonio.colored as tonio
    from tonio.colored import net
    from tonio.colored.net import tls

    async def answer(stream: Any) -> None:
        while True:
            try:
                await stream.receive_until(END)
            except tonio.exceptions.IncompleteRead:
                return
            await stream.send_all(ANSWER)

    async def echo(stream: Any) -> None:
        while data := await stream.receive_some(PIECE):
            await stream.send_all(data)

    async def serve() -> None:
        (plain,) = await net.open_tcp_listeners(0, host="127.0.0.1")
        report({"port": plain.socket.getsockname()[1]})
        if options.context is None:
            await net.serve_listeners(answer, [plain])
        await net.serve_listeners(echo, [tls.TLSListener(plain, options.context)])

    tonio.run(serve(), threads=options.threads)


def tonio_yield(options: Options) -> None:
    import tonio
    from tonio import net
    from tonio.net import tls

    type Steps = Generator[Any, Any]

    def answer(stream: Any) -> Steps:
        while True:
            try:
                yield stream.receive_until(END)
            except tonio.exceptions.IncompleteRead:
                return
            yield stream.send_all(ANSWER)

    def echo(stream: Any) -> Steps:
        while data := (yield stream.receive_some(PIECE)):
            yield stream.send_all(data)

    def serve() -> Steps:
        (plain,) = yield net.open_tcp_listeners(0, host="127.0.0.1")
        report({"port": plain.socket.getsockname()[1]})
        if options.context is None:
            yield net.serve_listeners(answer, [plain])
            return
        yield net.serve_listeners(echo, [tls.TLSListener(plain, options.context)])

    tonio.run(serve(), threads=options.threads)


async def serve_asyncio(options: Options) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(END)
                writer.write(ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(PIECE):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    handler = answer if options.context is None else echo
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=options.context, backlog=1024)
    report({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


def asyncio_streams(options: Options) -> None:
    asyncio.run(serve_asyncio(options))


def uvloop_streams(options: Options) -> None:
    import uvloop

    uvloop.run(serve_asyncio(options))


CONTENDERS: dict[str, Callable[[Options], None]] = {
    "tonio-await": tonio_await,
    "tonio-yield": tonio_yield,
    "asyncio-streams": asyncio_streams,
    "uvloop-streams": uvloop_streams,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("kind", choices=["http", "tls"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    options = parser.parse_args()
    context = None
    if options.kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    allow_many_files()
    CONTENDERS[options.contender](Options(options.kind, options.threads, context))


if __name__ == "__main__":
    main()
