"""An echo server on the loopback address; prints {"port": N} when it listens, runs until killed.

    python echo_server.py CONTENDER [--threads N]

Each connection has TCP_NODELAY, each receive asks for 64 KiB, and what came is sent before the
next receive. (A Protocol has no receive: there the event loop chooses the size.)
"""

from __future__ import annotations

import argparse
import asyncio
import socket as std_socket
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from measure import allow_many_files, report

ADDRESS = ("127.0.0.1", 0)
BACKLOG = 1024
RECEIVE_SIZE = 64 * 1024


def no_delay(sock: Any) -> None:
    sock.setsockopt(std_socket.IPPROTO_TCP, std_socket.TCP_NODELAY, 1)


# ---- TonIO. Releases without `sendall` have to send in a loop. ----


def tonio_await(threads: int) -> None:
    import tonio.colored as tonio
    from tonio.colored.net import socket

    async def echo(client: Any) -> None:
        with client:
            while data := await client.recv(RECEIVE_SIZE):
                await client.sendall(data)

    async def echo_by_send(client: Any) -> None:
        with client:
            while data := await client.recv(RECEIVE_SIZE):
                while data:
                    data = data[await client.send(data) :]

    async def serve() -> None:
        listener = socket.socket()
        await listener.bind(ADDRESS)
        listener.listen(BACKLOG)
        report({"port": listener.getsockname()[1]})
        while True:
            client, _ = await listener.accept()
            no_delay(client)
            handler = echo if hasattr(client, "sendall") else echo_by_send
            tonio.spawn.without_tracking(handler(client))

    tonio.run(serve(), threads=threads)


def tonio_yield(threads: int) -> None:
    import tonio
    from tonio.net import socket

    type Steps = Generator[Any, Any]

    def echo(client: Any) -> Steps:
        with client:
            while data := (yield client.recv(RECEIVE_SIZE)):
                yield client.sendall(data)

    def echo_by_send(client: Any) -> Steps:
        with client:
            while data := (yield client.recv(RECEIVE_SIZE)):
                while data:
                    data = data[(yield client.send(data)) :]

    def serve() -> Steps:
        listener = socket.socket()
        yield listener.bind(ADDRESS)
        listener.listen(BACKLOG)
        report({"port": listener.getsockname()[1]})
        while True:
            client, _ = yield listener.accept()
            no_delay(client)
            handler = echo if hasattr(client, "sendall") else echo_by_send
            tonio.spawn.without_tracking(handler(client))

    tonio.run(serve(), threads=threads)


# ---- asyncio and uvloop ----


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport  # has TCP_NODELAY

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def serve_protocol() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, *ADDRESS, backlog=BACKLOG)
    report({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


async def serve_sock() -> None:
    loop = asyncio.get_running_loop()
    tasks = set()

    async def echo(client: std_socket.socket) -> None:
        with client:
            while data := await loop.sock_recv(client, RECEIVE_SIZE):
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


def on_asyncio(serve: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[int], None]:
    return lambda _threads: asyncio.run(serve())


def on_uvloop(serve: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[int], None]:
    def run(_threads: int) -> None:
        import uvloop

        uvloop.run(serve())

    return run


# ---- trio ----


def trio_stream(_threads: int) -> None:
    import trio

    async def echo(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    async def serve() -> None:
        listeners = await trio.open_tcp_listeners(ADDRESS[1], host=ADDRESS[0], backlog=BACKLOG)
        report({"port": listeners[0].socket.getsockname()[1]})
        await trio.serve_listeners(echo, listeners)

    trio.run(serve)


CONTENDERS: dict[str, Callable[[int], None]] = {
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
    options = parser.parse_args()
    allow_many_files()
    CONTENDERS[options.contender](options.threads)


if __name__ == "__main__":
    main()
