"""An echo server on the loopback address; prints {"port": N} when it listens, runs until killed.

    python echo_server.py CONTENDER [--threads N] [--receive-size N]

Each connection has TCP_NODELAY, each receive asks for the same size, and what came is sent before
the next. (A Protocol has no receive: there the event loop chooses the size.)
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

type Contender = Callable[[int, int], None]
"""Takes the number of threads and the size of a receive."""
type Serve = Callable[[int], Coroutine[Any, Any, None]]


def no_delay(sock: Any) -> None:
    sock.setsockopt(std_socket.IPPROTO_TCP, std_socket.TCP_NODELAY, 1)


# ---- TonIO. Releases without `sendall` have to send in a loop. ----


def tonio_await(threads: int, receive_size: int) -> None:
    import tonio.colored as tonio
    from tonio.colored.net import socket

    async def echo(client: Any) -> None:
        with client:
            while data := await client.recv(receive_size):
                await client.sendall(data)

    async def echo_by_send(client: Any) -> None:
        with client:
            while data := await client.recv(receive_size):
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


def tonio_yield(threads: int, receive_size: int) -> None:
    import tonio
    from tonio.net import socket

    type Steps = Generator[Any, Any]

    def echo(client: Any) -> Steps:
        with client:
            while data := (yield client.recv(receive_size)):
                yield client.sendall(data)

    def echo_by_send(client: Any) -> Steps:
        with client:
            while data := (yield client.recv(receive_size)):
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


async def serve_protocol(_receive_size: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, *ADDRESS, backlog=BACKLOG)
    report({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


async def serve_sock(receive_size: int) -> None:
    loop = asyncio.get_running_loop()
    tasks = set()

    async def echo(client: std_socket.socket) -> None:
        with client:
            while data := await loop.sock_recv(client, receive_size):
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
    return lambda _threads, receive_size: asyncio.run(serve(receive_size))


def on_uvloop(serve: Serve) -> Contender:
    def run(_threads: int, receive_size: int) -> None:
        import uvloop

        uvloop.run(serve(receive_size))

    return run


# ---- trio ----


def trio_stream(_threads: int, receive_size: int) -> None:
    import trio

    async def echo(stream: trio.SocketStream) -> None:
        while data := await stream.receive_some(receive_size):
            await stream.send_all(data)

    async def serve() -> None:
        listeners = await trio.open_tcp_listeners(ADDRESS[1], host=ADDRESS[0], backlog=BACKLOG)
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
    options = parser.parse_args()
    allow_many_files()
    CONTENDERS[options.contender](options.threads, options.receive_size)


if __name__ == "__main__":
    main()
