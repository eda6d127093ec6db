"""An echo server on the loopback address; prints {"port": N} when it listens, runs until killed.

    python echo_server.py CONTENDER [--threads N] [--receive-size N] [--hog MS]

Each connection has TCP_NODELAY, each receive asks for the same size, and what came is sent before
the next. (A Protocol has no receive: there the event loop chooses the size.) With `--hog` a further
task computes, and lets others run each time so many milliseconds have passed; with `inf` it never
does.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import socket as std_socket
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from measure import allow_many_files, report, spin

ADDRESS = ("127.0.0.1", 0)
BACKLOG = 1024


@dataclasses.dataclass(frozen=True)
class Options:
    threads: int
    receive_size: int
    hog_seconds: float
    """How long the task that computes does so in a row; 0 if there is none."""


type Contender = Callable[[Options], None]
type Serve = Callable[[Options], Coroutine[Any, Any, None]]


def compute(seconds: float) -> bool:
    """Computes that long; with an infinite time it returns only when the process is killed."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        spin(200)
    return True


def no_delay(sock: Any) -> None:
    sock.setsockopt(std_socket.IPPROTO_TCP, std_socket.TCP_NODELAY, 1)


# ---- TonIO. Releases without `sendall` have to send in a loop. ----


def tonio_await(options: Options) -> None:
    import tonio.colored as tonio
    from tonio.colored.net import socket

    async def echo(client: Any) -> None:
        with client:
            while data := await client.recv(options.receive_size):
                await client.sendall(data)

    async def echo_by_send(client: Any) -> None:
        with client:
            while data := await client.recv(options.receive_size):
                while data:
                    data = data[await client.send(data) :]

    async def hog() -> None:
        while compute(options.hog_seconds):
            await tonio.yield_now()

    async def serve() -> None:
        listener = socket.socket()
        await listener.bind(ADDRESS)
        listener.listen(BACKLOG)
        if options.hog_seconds:
            tonio.spawn.without_tracking(hog())
        report({"port": listener.getsockname()[1]})
        while True:
            client, _ = await listener.accept()
            no_delay(client)
            handler = echo if hasattr(client, "sendall") else echo_by_send
            tonio.spawn.without_tracking(handler(client))

    tonio.run(serve(), threads=options.threads)


def tonio_yield(options: Options) -> None:
    import tonio
    from tonio.net import socket

    type Steps = Generator[Any, Any]

    def echo(client: Any) -> Steps:
        with client:
            while data := (yield client.recv(options.receive_size)):
                yield client.sendall(data)

    def echo_by_send(client: Any) -> Steps:
        with client:
            while data := (yield client.recv(options.receive_size)):
                while data:
                    data = data[(yield client.send(data)) :]

    def hog() -> Steps:
        while compute(options.hog_seconds):
            yield

    def serve() -> Steps:
        listener = socket.socket()
        yield listener.bind(ADDRESS)
        listener.listen(BACKLOG)
        if options.hog_seconds:
            tonio.spawn.without_tracking(hog())
        report({"port": listener.getsockname()[1]})
        while True:
            client, _ = yield listener.accept()
            no_delay(client)
            handler = echo if hasattr(client, "sendall") else echo_by_send
            tonio.spawn.without_tracking(handler(client))

    tonio.run(serve(), threads=options.threads)


# ---- asyncio and uvloop ----


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport  # has TCP_NODELAY

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def asyncio_hog(options: Options) -> None:
    while compute(options.hog_seconds):  # noqa: ASYNC110, it waits for nothing
        await asyncio.sleep(0)


async def serve_protocol(options: Options) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, *ADDRESS, backlog=BACKLOG)
    hog = asyncio.create_task(asyncio_hog(options)) if options.hog_seconds else None
    report({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()
    del hog  # the loop itself does not hold it


async def serve_sock(options: Options) -> None:
    loop = asyncio.get_running_loop()
    tasks = {asyncio.create_task(asyncio_hog(options))} if options.hog_seconds else set()

    async def echo(client: std_socket.socket) -> None:
        with client:
            while data := await loop.sock_recv(client, options.receive_size):
                await loop.sock_sendall(client, data)

    with std_socket.create_server(ADDRESS, backlog=BACKLOG) as listener:
        listener.setblocking(False)
        report({"port": listener.getsockname()[1]})
        while True:
            client, _ = await loop.sock_accept(listener)
            no_delay(client)
            task = asyncio.create_task(echo(client))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


def on_asyncio(serve: Serve) -> Contender:
    return lambda options: asyncio.run(serve(options))


def on_uvloop(serve: Serve) -> Contender:
    def run(options: Options) -> None:
        import uvloop

        uvloop.run(serve(options))

    return run


# ---- trio ----


def trio_stream(options: Options) -> None:
    import trio

    async def echo(stream: trio.SocketStream) -> None:
        while data := await stream.receive_some(options.receive_size):
            await stream.send_all(data)

    async def hog() -> None:
        while compute(options.hog_seconds):
            await trio.lowlevel.checkpoint()

    async def serve() -> None:
        listeners = await trio.open_tcp_listeners(ADDRESS[1], host=ADDRESS[0], backlog=BACKLOG)
        async with trio.open_nursery() as nursery:
            if options.hog_seconds:
                nursery.start_soon(hog)
            report({"port": listeners[0].socket.getsockname()[1]})
            await trio.serve_listeners(echo, listeners)

    trio.run(serve)


CONTENDERS: dict[str, Contender] = {
    "tonio-await": tonio_await,
    "tonio-yield": tonio_yield,
    "asyncio-protocol": on_asyncio(serve_protocol),
    "asyncio-sock": on_asyncio(serve_sock),
    "uvloop-protocol": on_uvloop(serve_protocol),
    "uvloop-sock": on_uvloop(serve_sock),
    "trio": trio_stream,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="an echo server that runs until it is killed")
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--receive-size", type=int, default=64 * 1024)
    parser.add_argument("--hog", type=float, default=0.0, metavar="MS", help="inf: never pauses")
    options = parser.parse_args()
    allow_many_files()
    CONTENDERS[options.contender](
        Options(options.threads, options.receive_size, options.hog / 1000)
    )


if __name__ == "__main__":
    main()
