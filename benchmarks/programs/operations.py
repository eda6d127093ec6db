"""What single operations cost: runs one row of the table in one library.

    python operations.py LIBRARY ROW [--threads N] [--seconds S]

A row gets a number of operations and does exactly as many. How many fill the wanted time is found
by trying with more and more; the last trial is the measurement.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, ClassVar

from measure import Stopwatch, report

SLEEPERS = 100_000
LONGEST_SLEEP = 0.2
BLOCKING_IN_FLIGHT = 50

type Function = Callable[[], Coroutine[Any, Any, Any]]


class UnavailableError(Exception):
    """The library has no such thing (yet)."""


class Library:
    """The rows that are written alike for every library, on the few names that differ.

    Where even a thin adapter would weigh on the loop that is measured, the row is written out in
    the subclass.
    """

    fixed: ClassVar[dict[str, int]] = {"sleeps": SLEEPERS}

    checkpoint: Callable[[], Awaitable[Any]]
    """Suspends once."""
    sleep: Callable[[float], Awaitable[Any]]

    def run(self, function: Function, threads: int) -> Any:
        raise NotImplementedError

    async def together(self, functions: list[Function]) -> None:
        """Runs them as tasks and waits for all."""
        raise NotImplementedError

    def event(self) -> Any:
        raise NotImplementedError

    def channel(self, size: int) -> tuple[Callable[[Any], Awaitable[None]], Callable[[], Any]]:
        """The functions that send to and receive from a new channel."""
        raise NotImplementedError

    async def use(self, lock: Any, count: int, *, suspend: bool) -> None:
        """Takes and releases a lock; inside, each time, suspends or does nothing.

        TonIO's newer locks are called to make a context manager, all others are one.
        """
        checkpoint = self.checkpoint
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

    def lock(self) -> Any:
        raise NotImplementedError

    def semaphore(self, value: int) -> Any:
        raise NotImplementedError

    async def spawn_join(self, count: int) -> None:
        raise NotImplementedError

    async def timeout(self, count: int) -> None:
        raise NotImplementedError

    async def spawn_blocking(self, count: int) -> None:
        raise NotImplementedError

    # ---- the rows that all share ----

    async def yield_now(self, count: int) -> None:
        checkpoint = self.checkpoint
        for _ in range(count):
            await checkpoint()

    async def event_set(self, count: int) -> None:
        event = self.event()
        event.set()
        wait = event.wait
        for _ in range(count):
            await wait()

    async def ping_pong(self, count: int) -> None:
        there_send, there_receive = self.channel(1)
        back_send, back_receive = self.channel(1)

        async def ping() -> None:
            for i in range(count // 2):
                await there_send(i)
                await back_receive()

        async def pong() -> None:
            for i in range(count // 2):
                await there_receive()
                await back_send(i)

        await self.together([ping, pong])

    async def channel_flow(self, count: int, pairs: int) -> None:
        send, receive = self.channel(128)

        async def produce() -> None:
            for i in range(count // pairs):
                await send(i)

        async def consume() -> None:
            for _ in range(count // pairs):
                await receive()

        await self.together([produce, consume] * pairs)

    async def channel_1(self, count: int) -> None:
        await self.channel_flow(count, 1)

    async def channel_8(self, count: int) -> None:
        await self.channel_flow(count, 8)

    async def lock_free(self, count: int) -> None:
        await self.use(self.lock(), count, suspend=False)

    async def lock_contended(self, count: int) -> None:
        lock = self.lock()
        await self.together([partial(self.use, lock, count // 10, suspend=True)] * 10)

    async def semaphore_4(self, count: int) -> None:
        semaphore = self.semaphore(4)
        await self.together([partial(self.use, semaphore, count // 16, suspend=True)] * 16)

    async def sleeps(self, count: int) -> None:
        draw = random.Random(1).random
        sleep = self.sleep

        async def sleeper() -> None:
            await sleep(draw() * LONGEST_SLEEP)

        await self.together([sleeper] * count)


def nothing() -> None:
    pass


class Tonio(Library):
    def __init__(self) -> None:
        import tonio.colored as tonio
        from tonio.colored import time

        self.tonio = tonio
        self.time = time
        self.checkpoint = tonio.yield_now
        self.sleep = tonio.sleep

    def run(self, function: Function, threads: int) -> Any:
        return self.tonio.run(function(), threads=threads)

    async def together(self, functions: list[Function]) -> None:
        await self.tonio.spawn(*[function() for function in functions])

    def event(self) -> Any:
        return self.tonio.Event()

    def sync(self, module: str, name: str) -> Any:
        from importlib import import_module

        try:
            return getattr(import_module(f"tonio.colored.{module}"), name)
        except (ImportError, AttributeError):
            raise UnavailableError(f"tonio.{module} has no {name} yet") from None

    def channel(self, size: int) -> tuple[Callable[[Any], Awaitable[None]], Callable[[], Any]]:
        sender, receiver = self.sync("sync.channel", "channel")(size)
        return sender.send, receiver.receive

    def lock(self) -> Any:
        return self.sync("sync", "Lock")()

    def semaphore(self, value: int) -> Any:
        return self.sync("sync", "Semaphore")(value)

    async def spawn_join(self, count: int) -> None:
        spawn = self.tonio.spawn

        async def child() -> None:
            pass

        for _ in range(count):
            await spawn(child())

    async def timeout(self, count: int) -> None:
        timeout = self.time.timeout
        checkpoint = self.checkpoint

        async def child() -> None:
            await checkpoint()

        for _ in range(count):
            await timeout(child(), 10)

    async def spawn_blocking(self, count: int) -> None:
        spawn_blocking = self.tonio.spawn_blocking

        async def caller() -> None:
            for _ in range(count // BLOCKING_IN_FLIGHT):
                await spawn_blocking(nothing)

        await self.together([caller] * BLOCKING_IN_FLIGHT)


class Asyncio(Library):
    checkpoint = staticmethod(partial(asyncio.sleep, 0))
    sleep = staticmethod(asyncio.sleep)

    def run(self, function: Function, _threads: int) -> Any:
        return asyncio.run(function())

    async def together(self, functions: list[Function]) -> None:
        await asyncio.gather(*[function() for function in functions])

    def event(self) -> Any:
        return asyncio.Event()

    def channel(self, size: int) -> tuple[Callable[[Any], Awaitable[None]], Callable[[], Any]]:
        queue: asyncio.Queue[Any] = asyncio.Queue(size)
        return queue.put, queue.get

    def lock(self) -> Any:
        return asyncio.Lock()

    def semaphore(self, value: int) -> Any:
        return asyncio.Semaphore(value)

    async def spawn_join(self, count: int) -> None:
        create_task = asyncio.create_task

        async def child() -> None:
            pass

        for _ in range(count):
            await create_task(child())

    async def timeout(self, count: int) -> None:
        wait_for = asyncio.wait_for
        checkpoint = self.checkpoint

        async def child() -> None:
            await checkpoint()

        for _ in range(count):
            await wait_for(child(), 10)

    async def spawn_blocking(self, count: int) -> None:
        run_in_executor = asyncio.get_running_loop().run_in_executor

        async def caller() -> None:
            for _ in range(count // BLOCKING_IN_FLIGHT):
                await run_in_executor(None, nothing)

        await self.together([caller] * BLOCKING_IN_FLIGHT)


class Trio(Library):
    def __init__(self) -> None:
        import trio

        self.trio = trio
        self.checkpoint = trio.lowlevel.checkpoint
        self.sleep = trio.sleep

    def run(self, function: Function, _threads: int) -> Any:
        return self.trio.run(function)

    async def together(self, functions: list[Function]) -> None:
        async with self.trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)

    def event(self) -> Any:
        return self.trio.Event()

    def channel(self, size: int) -> tuple[Callable[[Any], Awaitable[None]], Callable[[], Any]]:
        sender, receiver = self.trio.open_memory_channel(size)
        return sender.send, receiver.receive

    def lock(self) -> Any:
        return self.trio.Lock()

    def semaphore(self, value: int) -> Any:
        return self.trio.Semaphore(value)

    async def spawn_join(self, count: int) -> None:
        open_nursery = self.trio.open_nursery

        async def child() -> None:
            pass

        for _ in range(count):
            async with open_nursery() as nursery:
                nursery.start_soon(child)

    async def timeout(self, count: int) -> None:
        move_on_after = self.trio.move_on_after
        checkpoint = self.checkpoint

        async def child() -> None:
            await checkpoint()

        for _ in range(count):
            with move_on_after(10):
                await child()

    async def spawn_blocking(self, count: int) -> None:
        run_sync = self.trio.to_thread.run_sync

        async def caller() -> None:
            for _ in range(count // BLOCKING_IN_FLIGHT):
                await run_sync(nothing)

        await self.together([caller] * BLOCKING_IN_FLIGHT)


LIBRARIES: dict[str, type[Library]] = {"tonio": Tonio, "asyncio": Asyncio, "trio": Trio}

ROWS = (
    "yield_now",
    "spawn_join",
    "event_set",
    "ping_pong",
    "channel_1",
    "channel_8",
    "lock_free",
    "lock_contended",
    "semaphore_4",
    "sleeps",
    "timeout",
    "spawn_blocking",
)

# Every count is a multiple of the number of tasks among which any row divides it.
COUNT_STEP = 400


async def measure(library: Library, row: str, seconds: float) -> dict[str, float]:
    function = getattr(library, row)
    fixed = library.fixed.get(row)
    count = fixed or COUNT_STEP
    while True:
        watch = Stopwatch()
        await function(count)
        wall, cpu = watch.wall(), watch.cpu()
        if fixed or wall >= 0.7 * seconds:
            return {"count": count, "seconds_per_op": wall / count, "cpu_per_op": cpu / count}
        count = int(count * min(10, seconds / wall)) // COUNT_STEP * COUNT_STEP


def main() -> None:
    parser = argparse.ArgumentParser(description="what one kind of operation costs")
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.5, help="of measuring (default: 0.5)")
    options = parser.parse_args()
    library = LIBRARIES[options.library]()
    job = partial(measure, library, options.row, options.seconds)

    async def guarded() -> dict[str, Any]:
        try:
            return await job()
        except UnavailableError as error:
            return {"skipped": str(error)}

    report(library.run(guarded, options.threads))


if __name__ == "__main__":
    main()
