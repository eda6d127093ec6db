"""The rows of the operations table in the `await` notation; each does `count` operations."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from libraries import Library

LONGEST_SLEEP = 0.2
BLOCKING_IN_FLIGHT = 50

type Row = Callable[[Library, int], Awaitable[None]]


def no_work() -> None:
    pass


async def yield_now(library: Library, count: int) -> None:
    checkpoint = library.checkpoint
    for _ in range(count):
        await checkpoint()


async def spawn_join(library: Library, count: int) -> None:
    await library.spawn_join(count)


async def event_set(library: Library, count: int) -> None:
    event = library.event()
    event.set()
    wait = event.wait
    for _ in range(count):
        await wait()


async def ping_pong(library: Library, count: int) -> None:
    there_send, there_receive = library.channel(1)
    back_send, back_receive = library.channel(1)

    async def ping() -> None:
        for i in range(count // 2):
            await there_send(i)
            await back_receive()

    async def pong() -> None:
        for i in range(count // 2):
            await there_receive()
            await back_send(i)

    await library.together([ping, pong])


async def channel_flow(pairs: int, library: Library, count: int) -> None:
    send, receive = library.channel(128)

    async def produce() -> None:
        for i in range(count // pairs):
            await send(i)

    async def consume() -> None:
        for _ in range(count // pairs):
            await receive()

    await library.together([produce, consume] * pairs)


async def use(library: Library, lock: Any, count: int, *, suspend: bool) -> None:
    """Takes and releases a lock; inside, each time, suspends or does nothing.

    TonIO's newer locks are called to make a context manager, all others are one.
    """
    checkpoint = library.checkpoint
    if callable(lock):
        for _ in range(count):
            async with lock():
                if suspend:
                    await checkpoint()
    else:
        for _ in range(count):
            async with lock:
                if suspend:
                    await checkpoint()


async def lock_free(library: Library, count: int) -> None:
    await use(library, library.lock(), count, suspend=False)


async def lock_contended(library: Library, count: int) -> None:
    lock = library.lock()
    await library.together([partial(use, library, lock, count // 10, suspend=True)] * 10)


async def semaphore_4(library: Library, count: int) -> None:
    semaphore = library.semaphore(4)
    await library.together([partial(use, library, semaphore, count // 16, suspend=True)] * 16)


async def sleeps(library: Library, count: int) -> None:
    draw, sleep = random.Random(1).random, library.sleep

    async def sleeper() -> None:
        await sleep(draw() * LONGEST_SLEEP)

    await library.together([sleeper] * count)


async def timeout(library: Library, count: int) -> None:
    await library.timeout(count)


async def blocking(in_flight: int, library: Library, count: int) -> None:
    function = library.blocking()

    async def caller() -> None:
        for _ in range(count // in_flight):
            await function(no_work)

    await library.together([caller] * in_flight)


ROWS: dict[str, Row] = {
    "yield_now": yield_now,
    "spawn_join": spawn_join,
    "event_set": event_set,
    "ping_pong": ping_pong,
    "channel_1": partial(channel_flow, 1),
    "channel_8": partial(channel_flow, 8),
    "lock_free": lock_free,
    "lock_contended": lock_contended,
    "semaphore_4": semaphore_4,
    "sleeps": sleeps,
    "timeout": timeout,
    "spawn_blocking": partial(blocking, BLOCKING_IN_FLIGHT),
    "blocking_1": partial(blocking, 1),
    "blocking_400": partial(blocking, 400),
}
