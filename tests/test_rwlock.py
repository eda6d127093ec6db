"""`sync.RwLock`: many readers or one writer; a writer that waits goes first."""

import pytest
from notation import both

import tonio.colored as tonio
from tonio.colored import sync
from tonio.exceptions import DeadlockError


@both
async def test_readers_share_and_writers_do_not() -> None:
    lock = sync.RwLock()
    readers: list[None] = []
    writers: list[None] = []
    most: list[int] = []

    async def read() -> None:
        for _ in range(10):
            async with lock.read():
                readers.append(None)
                assert not writers
                most.append(len(readers))
                await tonio.yield_now()
                readers.pop()

    async def write() -> None:
        for _ in range(10):
            async with lock.write():
                writers.append(None)
                assert len(writers) == 1
                assert not readers
                await tonio.yield_now()
                writers.pop()

    await tonio.spawn(*[read() for _ in range(6)], *[write() for _ in range(3)])
    assert max(most) > 1


@both
async def test_waiting_writer_goes_before_later_readers() -> None:
    lock = sync.RwLock()
    order: list[str] = []

    async def write() -> None:
        async with lock.write():
            order.append("writer")

    async def read() -> None:
        async with lock.read():
            order.append("reader")

    async with lock.read():
        writing = tonio.spawn(write())
        while "1 waiting" not in repr(lock):
            await tonio.yield_now()
        reading = tonio.spawn(read())
        while "2 waiting" not in repr(lock):
            await tonio.yield_now()
    await writing
    await reading
    assert order == ["writer", "reader"]


@both
async def test_cancelled_writer_lets_readers_through() -> None:
    lock = sync.RwLock()

    async def write() -> None:
        async with lock.write():
            raise AssertionError

    async def read() -> str:
        async with lock.read():
            return "read"

    async with lock.read():
        writing = tonio.spawn(write())
        while "1 waiting" not in repr(lock):
            await tonio.yield_now()
        reading = tonio.spawn(read())
        while "2 waiting" not in repr(lock):
            await tonio.yield_now()
        writing.cancel()
        assert await reading == "read"


@both
async def test_writer_cannot_take_the_lock_twice() -> None:
    lock = sync.RwLock()
    async with lock.write():
        with pytest.raises(DeadlockError):
            await lock.write()
