"""The names that the same thing has in each library, so that a workload is written once.

An adapter is for what happens around a measured loop. Where even a thin one would weigh on the loop
itself, the adapter hands out the library's own function, or writes the loop out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from importlib import import_module
from typing import Any

type Function = Callable[[], Coroutine[Any, Any, Any]]
type Blocking = Callable[[], Any]

LONG = 3600.0
"""A time-out that never comes."""


class UnavailableError(Exception):
    """The library has no such thing."""


class Library:
    """What every library can do, in the `await` notation."""

    checkpoint: Callable[[], Awaitable[Any]]
    """Suspends once."""
    sleep: Callable[[float], Awaitable[Any]]

    def run(self, function: Function, threads: int) -> Any:
        raise NotImplementedError

    async def together(self, functions: list[Function]) -> None:
        """Runs them as tasks and waits for all."""
        raise NotImplementedError

    def detach(self, function: Function) -> None:
        """Starts a task that nobody waits for."""
        raise NotImplementedError

    def event(self) -> Any:
        raise NotImplementedError

    async def wait_for(self, event: Any) -> None:
        """Waits for an event with a time limit that is not reached."""
        raise NotImplementedError

    def channel(self, size: int) -> tuple[Callable[[Any], Awaitable[None]], Callable[[], Any]]:
        """The functions that send to and receive from a new channel."""
        raise NotImplementedError

    def lock(self) -> Any:
        raise NotImplementedError

    def semaphore(self, value: int) -> Any:
        raise NotImplementedError

    def blocking(self) -> Callable[[Blocking], Awaitable[Any]]:
        """The function that runs a blocking function on a thread of the pool."""
        raise NotImplementedError

    async def spawn_join(self, count: int) -> None:
        """Starts a task that does nothing and waits for it, over and over."""
        raise NotImplementedError

    async def timeout(self, count: int) -> None:
        """Limits the time of a coroutine that suspends once, over and over."""
        raise NotImplementedError


async def nothing() -> None:
    pass


class Tonio(Library):
    """This project, or the Rust TonIO: the same names."""

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

    def detach(self, function: Function) -> None:
        self.tonio.spawn.without_tracking(function())

    def event(self) -> Any:
        return self.tonio.Event()

    async def wait_for(self, event: Any) -> None:
        await event.wait(LONG)

    def sync(self, module: str, name: str) -> Any:
        try:
            return getattr(import_module(f"tonio.colored.{module}"), name)
        except (ImportError, AttributeError):
            raise UnavailableError(f"tonio.{module} has no {name}") from None

    def channel(self, size: int) -> tuple[Callable[[Any], Awaitable[None]], Callable[[], Any]]:
        sender, receiver = self.sync("sync.channel", "channel")(size)
        return sender.send, receiver.receive

    def lock(self) -> Any:
        return self.sync("sync", "Lock")()

    def semaphore(self, value: int) -> Any:
        return self.sync("sync", "Semaphore")(value)

    def blocking(self) -> Callable[[Blocking], Awaitable[Any]]:
        function: Callable[[Blocking], Awaitable[Any]] = self.tonio.spawn_blocking
        return function

    async def spawn_join(self, count: int) -> None:
        spawn = self.tonio.spawn
        for _ in range(count):
            await spawn(nothing())

    async def timeout(self, count: int) -> None:
        timeout, checkpoint = self.time.timeout, self.checkpoint

        async def child() -> None:
            await checkpoint()

        for _ in range(count):
            await timeout(child(), 10)


class Asyncio(Library):
    checkpoint = staticmethod(partial(asyncio.sleep, 0))
    sleep = staticmethod(asyncio.sleep)

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()

    def run(self, function: Function, _threads: int) -> Any:
        return asyncio.run(function())

    async def together(self, functions: list[Function]) -> None:
        await asyncio.gather(*[function() for function in functions])

    def detach(self, function: Function) -> None:
        self.tasks.add(asyncio.create_task(function()))

    def event(self) -> Any:
        return asyncio.Event()

    async def wait_for(self, event: Any) -> None:
        async with asyncio.timeout(LONG):
            await event.wait()

    def channel(self, size: int) -> tuple[Callable[[Any], Awaitable[None]], Callable[[], Any]]:
        queue: asyncio.Queue[Any] = asyncio.Queue(size)
        return queue.put, queue.get

    def lock(self) -> Any:
        return asyncio.Lock()

    def semaphore(self, value: int) -> Any:
        return asyncio.Semaphore(value)

    def blocking(self) -> Callable[[Blocking], Awaitable[Any]]:
        return partial(asyncio.get_running_loop().run_in_executor, None)

    async def spawn_join(self, count: int) -> None:
        create_task = asyncio.create_task
        for _ in range(count):
            await create_task(nothing())

    async def timeout(self, count: int) -> None:
        wait_for, checkpoint = asyncio.wait_for, self.checkpoint

        async def child() -> None:
            await checkpoint()

        for _ in range(count):
            await wait_for(child(), 10)


class Trio(Library):
    def __init__(self) -> None:
        import trio

        self.trio = trio
        self.checkpoint = trio.lowlevel.checkpoint
        self.sleep = trio.sleep

    def run(self, function: Function, _threads: int) -> Any:
        async def main() -> Any:
            async with self.trio.open_nursery() as self.nursery:
                result = await function()
                self.nursery.cancel_scope.cancel()
            return result

        return self.trio.run(main)

    async def together(self, functions: list[Function]) -> None:
        async with self.trio.open_nursery() as nursery:
            for function in functions:
                nursery.start_soon(function)

    def detach(self, function: Function) -> None:
        self.nursery.start_soon(function)

    def event(self) -> Any:
        return self.trio.Event()

    async def wait_for(self, event: Any) -> None:
        with self.trio.move_on_after(LONG):
            await event.wait()

    def channel(self, size: int) -> tuple[Callable[[Any], Awaitable[None]], Callable[[], Any]]:
        sender, receiver = self.trio.open_memory_channel(size)
        return sender.send, receiver.receive

    def lock(self) -> Any:
        return self.trio.Lock()

    def semaphore(self, value: int) -> Any:
        return self.trio.Semaphore(value)

    def blocking(self) -> Callable[[Blocking], Awaitable[Any]]:
        function: Callable[[Blocking], Awaitable[Any]] = self.trio.to_thread.run_sync
        return function

    async def spawn_join(self, count: int) -> None:
        open_nursery = self.trio.open_nursery
        for _ in range(count):
            async with open_nursery() as nursery:
                nursery.start_soon(nothing)

    async def timeout(self, count: int) -> None:
        move_on_after, checkpoint = self.trio.move_on_after, self.checkpoint

        async def child() -> None:
            await checkpoint()

        for _ in range(count):
            with move_on_after(10):
                await child()


LIBRARIES: dict[str, type[Library]] = {"tonio": Tonio, "asyncio": Asyncio, "trio": Trio}
