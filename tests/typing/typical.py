"""Typical uses, and the types that a checker has to see in them: `mypy --strict` accepts this file.

It is not run: nothing here needs to make sense in any other way.
"""

import ssl
from collections.abc import Generator
from typing import Any, assert_type

import tonio
import tonio.colored
from tonio import exceptions, net, time
from tonio.colored import time as colored_time
from tonio.colored.net import socket as colored_socket
from tonio.net import socket, tls


def blocking(path: str, *, size: int = 0) -> bytes:
    return path.encode()[:size]


# --- `yield` ----------------------------------------------------------------------------------


def number() -> Generator[Any, Any, int]:
    yield
    yield tonio.sleep(0.5)
    return 1


def text(value: int, *, end: str = "") -> Generator[Any, Any, str]:
    # What `yield` gives is not known: an annotation says it.
    doubled: int = yield number()
    return str(value + doubled) + end


def with_yield() -> Generator[Any]:
    # `yield from` an operation, a join or a coroutine has its type.
    assert_type((yield from number()), int)
    assert_type((yield from tonio.sleep(1)), None)
    assert_type((yield from tonio.spawn(number())), int)
    assert_type((yield from tonio.spawn(number(), text(1))), tuple[int, str])
    assert_type((yield from tonio.Event().wait()), bool)

    event = tonio.Event()
    if not (yield event.wait(timeout=1.5)):
        event.set()
    tonio.spawn.without_tracking(number(), text(2))
    yield tonio.spawn.without_results(number())

    interval = time.interval(0.5, time.time() + 5)
    yield interval.tick()

    with socket.socket() as listener:
        yield listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert_type((yield from listener.accept()), tuple[socket.socket, Any])


# --- `await` ----------------------------------------------------------------------------------


async def fetch(value: int, *, retries: int = 0) -> str:
    await tonio.colored.yield_now()
    return str(value + retries)


async def join_them() -> None:
    assert_type(await tonio.colored.spawn(fetch(1)), str)
    assert_type(await tonio.colored.spawn(number()), int)
    assert_type(await tonio.colored.spawn(tonio.sleep(1)), None)
    assert_type(await tonio.colored.spawn(fetch(1), number()), tuple[str, int])
    one, two, three = await tonio.colored.spawn(number(), fetch(2), tonio.Event().wait())
    assert_type(one, int)
    assert_type(two, str)
    assert_type(three, bool)
    assert_type(await tonio.colored.spawn(*[fetch(n) for n in range(9)]), list[str])
    assert_type(await tonio.colored.spawn(*[number() for _ in range(9)]), list[int])
    assert_type(
        await tonio.colored.spawn(fetch(1), fetch(2), fetch(3), fetch(4), fetch(5), fetch(6)),
        list[str],
    )

    assert_type(tonio.spawn(fetch(1)), tonio.Join[str])
    join: tonio.Join[str] = tonio.colored.spawn(fetch(1))
    assert_type(join.done(), bool)
    assert_type(join.name, str)
    try:
        if join.cancel():
            await join
    except exceptions.TaskCancelled:
        pass

    assert_type(tonio.colored.spawn.without_tracking(fetch(1)), None)
    assert_type(await tonio.colored.spawn.without_results(fetch(1), number()), None)
    assert_type(tonio.colored.current_task(), tonio.Task)


async def block() -> None:
    assert_type(await tonio.colored.spawn_blocking(blocking, "x", size=3), bytes)
    assert_type(await tonio.colored.spawn_blocking.abandon(blocking, path="x"), bytes)
    assert_type(await tonio.colored.spawn_blocking(lambda: 1), int)
    tonio.colored.spawn_blocking(blocking, 1)  # type: ignore[arg-type]
    tonio.colored.spawn_blocking(blocking)  # type: ignore[call-arg]


async def map_them() -> None:
    assert_type(await tonio.colored.map(fetch, [1, 2]), list[str])
    assert_type(await tonio.colored.map(text, range(3)), list[str])
    assert_type(await tonio.colored.map(lambda n: fetch(n, retries=n), {1, 2}), list[str])
    assert_type(await tonio.colored.map_blocking(blocking, ["x"]), list[bytes])
    assert_type(await tonio.colored.map_blocking(len, ["x", "y"]), list[int])
    tonio.colored.map(fetch, ["x"])  # type: ignore[arg-type]


async def wait_for_them() -> None:
    assert_type(await colored_time.sleep(1), None)
    assert_type(colored_time.time(), float)
    value, in_time = await colored_time.timeout(fetch(1), 2.5)
    assert_type(value, str | None)
    assert_type(in_time, bool)
    data, _ = await colored_time.timeout(tonio.Event().wait(), None)
    assert_type(data, bool | None)
    every = colored_time.interval(1)
    assert_type(await every.tick(), None)

    event = tonio.colored.Event()
    assert_type(event.is_set(), bool)
    assert_type(event.set(), bool)
    assert_type(event.clear(), bool)
    assert_type(await event.wait(0.5), bool)


async def talk() -> None:
    with colored_socket.socket(colored_socket.AF_INET6) as sock:
        assert_type(sock, colored_socket.socket)
        await sock.connect(("::1", 80))
        sock.setsockopt(colored_socket.IPPROTO_TCP, colored_socket.TCP_NODELAY, 1)
        assert_type(sock.getsockopt(colored_socket.SOL_SOCKET, colored_socket.SO_ERROR), int)
        assert_type(await sock.send(b"x"), int)
        assert_type(await sock.sendall(bytearray(3)), None)
        assert_type(await sock.recv(4096), bytes)
        assert_type(await sock.recv_into(bytearray(3)), int)
        sock.shutdown(colored_socket.SHUT_WR)
        assert_type(sock.fileno(), int)
        await sock.send("x")  # type: ignore[arg-type]
    connection, _ = await sock.accept()
    assert_type(connection, colored_socket.socket)


# --- streams and servers


async def colored_serving(stream: net.SocketStream) -> None:
    async for data in stream:
        assert_type(data, bytes)
        assert_type(await stream.send_all(data), None)
    assert_type(await stream.receive_exactly(4), bytes)
    assert_type(await stream.receive_until(b"\n", timeout=1), bytes)
    await stream.send_all("text")  # type: ignore[arg-type]


async def colored_streams(context: ssl.SSLContext) -> None:
    assert_type(await net.open_tcp_stream("localhost", 80), net.SocketStream)
    (listener, *_) = await net.open_tcp_listeners(80, reuse_port=True)
    assert_type(listener, net.SocketListener)
    assert_type(await listener.accept(timeout=1), net.SocketStream)
    assert_type(net.inherited_listeners(), list[net.SocketListener])
    secure = await tls.open_tls_over_tcp_stream("localhost", 443, ssl_context=context)
    assert_type(secure, tls.TLSStream[net.SocketStream])
    assert_type(await secure.receive_some(), bytes)
    assert_type(await secure.unwrap(), tuple[net.SocketStream, bytes])
    await net.serve_listeners(colored_serving, [listener], grace=5)


def serving(stream: net.SocketStream) -> Generator[Any]:
    for operation in stream:
        assert_type((yield from operation), bytes)


def streams() -> Generator[Any]:
    yield net.serve_tcp(serving, 80, max_connections=5)
    yield net.serve_tcp(serving, "80")  # type: ignore[arg-type]


# --- running ----------------------------------------------------------------------------------

assert_type(tonio.run(number()), int)
assert_type(tonio.run(fetch(1), context=True, threads=4), str)
assert_type(tonio.run(tonio.sleep(1), blocking_threadpool_idle_ttl=1.5), None)
tonio.run(fetch)  # type: ignore[arg-type]
tonio.run(fetch(1), thread=4)  # type: ignore[call-arg]

with tonio.runtime(threads=2, blocking_threadpool_size=8) as runtime:
    assert_type(runtime, tonio.Runtime)
    assert_type(runtime.run_until_complete(number()), int)
    assert_type(runtime.run_until_complete(fetch(1)), str)


@tonio.main
def program(name: str, *, loud: bool = False) -> Generator[Any, Any, int]:
    yield
    return len(name) + loud


@tonio.colored.main(threads=2, context=True)
async def colored_program(name: str) -> int:
    return len(name)


assert_type(program("x", loud=True), int)
assert_type(colored_program("x"), int)
program(1)  # type: ignore[arg-type]
