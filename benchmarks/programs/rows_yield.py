"""The rows of the operations table in the `yield` notation; each does `count` operations."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from libraries_yield import Library, Steps
from rows import BLOCKING_IN_FLIGHT, LONGEST_SLEEP, no_work

type Row = Callable[[Library, int], Steps]


def nothing() -> Steps:
    return
    yield


def suspend_once() -> Steps:
    yield


def yield_now(_library: Library, count: int) -> Steps:
    for _ in range(count):
        yield


def spawn_join(library: Library, count: int) -> Steps:
    together, task = library.together, [nothing]
    for _ in range(count):
        yield together(task)


def event_set(library: Library, count: int) -> Steps:
    event = library.event()
    event.set()
    wait = event.wait
    for _ in range(count):
        yield wait()


def ping_pong(library: Library, count: int) -> Steps:
    there_send, there_receive = library.channel(1)
    back_send, back_receive = library.channel(1)

    def ping() -> Steps:
        for i in range(count // 2):
            yield there_send(i)
            yield back_receive()

    def pong() -> Steps:
        for i in range(count // 2):
            yield there_receive()
            yield back_send(i)

    yield library.together([ping, pong])


def channel_flow(pairs: int, library: Library, count: int) -> Steps:
    send, receive = library.channel(128)

    def produce() -> Steps:
        for i in range(count // pairs):
            yield send(i)

    def consume() -> Steps:
        for _ in range(count // pairs):
            yield receive()

    yield library.together([produce, consume] * pairs)


def use(lock: Any, count: int, *, suspend: bool) -> Steps:
    """Takes and releases a lock; inside, each time, suspends or does nothing."""
    for _ in range(count):
        with (yield lock()):
            if suspend:
                yield


def lock_free(library: Library, count: int) -> Steps:
    yield from use(library.lock(), count, suspend=False)


def lock_contended(library: Library, count: int) -> Steps:
    lock = library.lock()
    yield library.together([partial(use, lock, count // 10, suspend=True) for _ in range(10)])


def semaphore_4(library: Library, count: int) -> Steps:
    semaphore = library.semaphore(4)
    yield library.together([partial(use, semaphore, count // 16, suspend=True) for _ in range(16)])


def sleeps(library: Library, count: int) -> Steps:
    draw, sleep = random.Random(1).random, library.sleep

    def sleeper() -> Steps:
        yield sleep(draw() * LONGEST_SLEEP)

    yield library.together([sleeper] * count)


def timeout(library: Library, count: int) -> Steps:
    limited = library.limited
    for _ in range(count):
        yield limited(suspend_once(), 10)


def blocking(in_flight: int, library: Library, count: int) -> Steps:
    function = library.blocking

    def caller() -> Steps:
        for _ in range(count // in_flight):
            yield function(no_work)

    yield library.together([caller] * in_flight)


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
