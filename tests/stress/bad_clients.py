"""Connections of every bad kind, and handlers that fail in every way.

    python tests/stress/bad_clients.py [CONNECTIONS]

A server of plain TCP and one of TLS are used by clients that send nothing, rubbish, half a
handshake, that reset, that cut off; the handlers raise, close their stream, or wait for ever and
are cut off by a limit. In the end both must still serve, and neither descriptors nor memory have
grown.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from certificates import certificate

import tonio.colored as tonio
from tonio.colored import net
from tonio.colored.net import socket, tls
from tonio.exceptions import ResourceBroken, ResourceClosed

CLIENTS = 32  # at the same time
NEVER = 0.02  # seconds after which a handler that never ends is cut off


async def handle(stream: Any) -> None:
    """Does what the client says, most of which is wrong."""
    match await stream.receive_some():
        case b"raise":
            raise ValueError("of the handler")
        case b"close":
            if (closing := stream.close()) is not None:
                await closing
            await stream.send_all(b"never sent")
        case b"hang":
            await tonio.time.timeout(tonio.Event().wait(), NEVER)
        case b"busy":
            async with tonio.scope() as scope:
                scope.spawn(stream.receive_some())
                await tonio.yield_now()
                await stream.receive_some()
        case b"cancel":
            async with tonio.scope() as scope:
                scope.cancel()
                await tonio.sleep(1)
        case data:
            while data:
                await stream.send_all(data)
                data = await stream.receive_some()


COMMANDS = [b"raise", b"close", b"hang", b"busy", b"cancel", b"echo"]


def reset(stream: net.SocketStream) -> None:
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.close()


async def command(stream: Any, number: int) -> None:
    await stream.send_all(COMMANDS[number % len(COMMANDS)])
    await stream.receive_some()


async def plain_client(port: int, number: int) -> None:
    with await net.open_tcp_stream("127.0.0.1", port) as stream:
        match number % 4:
            case 0:
                await command(stream, number // 4)
            case 1:
                await stream.send_all(COMMANDS[number // 4 % len(COMMANDS)])
                reset(stream)
            case 2:
                stream.send_eof()
                await stream.receive_some()
            case _:
                pass


async def tls_client(port: int, number: int) -> None:
    stream: Any
    if number % 4 == 0:
        context = certificate().client()
        stream = await tls.open_tls_over_tcp_stream("localhost", port, ssl_context=context)
        try:
            await command(stream, number // 8)
            if number % 8:
                stream.transport.close()
        finally:
            await stream.close()
        return
    with await net.open_tcp_stream("127.0.0.1", port) as stream:
        match number % 4:
            case 1:
                await stream.send_all(b"GET / HTTP/1.0\r\n\r\n")
                await stream.receive_some()
            case 2:
                await stream.send_all(b"\x16\x03\x01\x02\x00\x01\x00\x01")
                reset(stream)
            case _:
                pass  # not a word


def resident() -> int:
    """Kilobytes of memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


async def many(client: Callable[[int, int], Awaitable[None]], port: int, count: int) -> int:
    """Runs so many clients; how many got an error, as most should."""
    lock = tonio.sync.Lock()
    numbers = iter(range(count))
    errors: list[int] = []

    async def next_number() -> int | None:
        async with lock:
            return next(numbers, None)

    async def worker() -> None:
        while (number := await next_number()) is not None:
            try:
                await client(port, number)
            except (OSError, ResourceBroken, ResourceClosed):
                errors.append(number)

    async with tonio.scope() as scope:
        for _ in range(CLIENTS):
            scope.spawn(worker())
    return len(errors)


async def program(connections: int) -> str:
    reports: list[str] = []
    sys.unraisablehook = lambda report: reports.append(report.exc_type.__name__)
    (plain,) = await net.open_tcp_listeners(0, host="127.0.0.1")
    (secure,) = await tls.open_tls_over_tcp_listeners(
        0, certificate().server(), host="127.0.0.1", handshake_timeout=1
    )
    ports = (plain.socket.getsockname()[1], secure.transport.socket.getsockname()[1])
    start = time.monotonic()
    async with tonio.scope() as scope:
        scope.spawn(net.serve_listeners(handle, [plain, secure]))
        before: tuple[int, int] | None = None
        errors = 0
        for part in range(10):
            errors += await many(plain_client, ports[0], connections // 20)
            errors += await many(tls_client, ports[1], connections // 20)
            await tonio.sleep(0.2)  # the last handlers end
            gc.collect()
            now = (len(os.listdir("/proc/self/fd")), resident())
            print(
                f"  {(part + 1) * 10} %: {now[0]} descriptors, {now[1] // 1024} MB, "
                f"{time.monotonic() - start:.0f} s",
                flush=True,
            )
            if part == 4:
                before = now
        async with await net.open_tcp_stream("127.0.0.1", ports[0]) as stream:
            await stream.send_all(b"still there")
            assert await stream.receive_some(timeout=5) == b"still there"
        context = certificate().client()
        async with await tls.open_tls_over_tcp_stream(
            "localhost", ports[1], ssl_context=context
        ) as sealed:
            await sealed.send_all(b"still there")
            assert await sealed.receive_some() == b"still there"
        scope.cancel()
    assert before is not None
    assert now[0] <= before[0] + 2, f"descriptors have grown from {before[0]} to {now[0]}"
    grown = now[1] - before[1]
    assert grown <= 4096 + before[1] // 20, f"memory has grown by {grown} kB in the second half"
    kinds = {kind: reports.count(kind) for kind in sorted(set(reports))}
    return (
        f"{connections:,} bad connections, {errors:,} errors at clients, reports {kinds}; "
        f"memory grew by {grown} kB in the second half"
    )


def run(connections: int) -> str:
    before = sys.unraisablehook
    logger = logging.getLogger("tonio.net")
    logger.setLevel(logging.ERROR)
    try:
        return tonio.run(program(connections), threads=2)
    finally:
        sys.unraisablehook = before
        logger.setLevel(logging.NOTSET)


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
