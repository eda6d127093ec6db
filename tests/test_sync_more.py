"""Condition, RwLock, Once, broadcast and watch channels."""

from typing import Any

import pytest
from notation import both

import tonio.colored as tonio
from tonio.colored import sync
from tonio.colored.sync import channel
from tonio.exceptions import DeadlockError, EndOfChannel, Lagged, WouldBlock

# --- Condition --------------------------------------------------------------------------------


@both
async def test_condition_wakes_who_waits_and_gives_the_lock_back() -> None:
    condition = sync.Condition()
    items: list[int] = []

    async def consume() -> int:
        async with condition():
            await condition.wait_for(lambda: items)
            return items.pop()

    consumers = [tonio.spawn(consume()) for _ in range(8)]
    for number in range(8):
        async with condition():
            items.append(number)
            condition.notify()
        await tonio.yield_now()
    got = []
    for consumer in consumers:
        got.append(await consumer)
    assert sorted(got) == list(range(8))
    assert not items


@both
async def test_condition_without_time_to_wait() -> None:
    condition = sync.Condition()
    for _ in range(3):
        async with condition():
            with pytest.raises(TimeoutError, match=r"Condition\.wait\(\)"):
                await condition.wait(timeout=0)
            with pytest.raises(TimeoutError, match=r"Condition\.wait_for\(\)"):
                await condition.wait_for(lambda: False, timeout=0)
            assert await condition.wait_for(lambda: "true", timeout=0) == "true"
            assert condition.locked()
    assert not condition.locked()


@both
async def test_condition_notify_all() -> None:
    condition = sync.Condition()
    woken: list[int] = []
    waiting: list[int] = []

    async def wait(number: int) -> None:
        async with condition():
            waiting.append(number)
            await condition.wait()
            woken.append(number)

    joins = [tonio.spawn(wait(number)) for number in range(10)]
    while len(waiting) < 10:
        await tonio.yield_now()
    async with condition():
        assert condition.notify_all() == 10
        assert woken == []
    for join in joins:
        await join
    assert sorted(woken) == list(range(10))


@both
async def test_cancelled_and_late_waiters_have_the_lock_and_pass_it_on() -> None:
    condition = sync.Condition()
    inside: list[str] = []

    async def wait(name: str, timeout: float | None) -> None:
        async with condition():
            try:
                await condition.wait(timeout)
            finally:
                assert inside == []
                inside.append(name)
                inside.remove(name)

    with pytest.raises(ExceptionGroup) as failed:
        await tonio.spawn(wait("late", 0.001))
    assert isinstance(failed.value.exceptions[0], TimeoutError)
    for _ in range(20):
        async with tonio.scope() as scope:
            for number in range(4):
                scope.spawn(wait(str(number), None))
            await tonio.sleep(0.0005)
            async with condition():
                condition.notify()
                scope.cancel()
        condition.or_raise().__exit__(None, None, None)


@both
async def test_condition_without_time_to_wait_keeps_the_lock() -> None:
    condition = sync.Condition()
    async with condition():
        with pytest.raises(TimeoutError):
            await condition.wait(0)
        with pytest.raises(TimeoutError):
            await condition.wait_for(lambda: False, 0)
        assert await condition.wait_for(lambda: "there", 0) == "there"
        assert condition.notify_all() == 0
    assert not condition.locked()


@both
async def test_condition_needs_its_lock() -> None:
    condition = sync.Condition()
    with pytest.raises(RuntimeError, match="needs the lock"):
        await condition.wait()
    with pytest.raises(RuntimeError):
        condition.notify()


# --- RwLock -----------------------------------------------------------------------------------


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


# --- Once -------------------------------------------------------------------------------------


@both
async def test_once_makes_it_once() -> None:
    once = sync.Once()
    made: list[int] = []

    async def make() -> int:
        await tonio.sleep(0.001)
        made.append(1)
        return 42

    assert await tonio.spawn(*[once.get_or_init(make) for _ in range(10)]) == [42] * 10
    assert made == [1]
    assert once.get() == 42


@both
async def test_once_is_tried_again_after_a_failure() -> None:
    once = sync.Once()
    tries: list[int] = []

    async def make() -> str:
        tries.append(1)
        await tonio.yield_now()
        if len(tries) == 1:
            raise ValueError("the first time")
        return "made"

    with pytest.raises(ValueError, match="the first time"):
        await once.get_or_init(make)
    assert await once.get_or_init(make) == "made"
    assert len(tries) == 2


# --- broadcast --------------------------------------------------------------------------------


@both
async def test_every_receiver_gets_every_message() -> None:
    sender, receiver = channel.broadcast(64)
    others = [receiver, *(sender.subscribe() for _ in range(3))]

    async def collect(source: Any) -> list[int]:
        got = []
        async for message in source:
            got.append(message)
        return got

    collecting = [tonio.spawn(collect(other)) for other in others]
    for number in range(20):
        sender.send(number)
        if number % 4 == 3:
            await tonio.sleep(0.005)  # nobody tells whether all have got it
    sender.close()
    for join in collecting:
        assert await join == list(range(20))


@both
async def test_slow_receiver_learns_how_many_it_missed() -> None:
    sender, receiver = channel.broadcast(2)
    for number in range(5):
        sender.send(number)
    with pytest.raises(Lagged) as lagged:
        await receiver.receive()
    assert lagged.value.missed == 3
    assert [await receiver.receive(), await receiver.receive()] == [3, 4]
    sender.close()
    with pytest.raises(EndOfChannel):
        await receiver.receive()


@both
async def test_broadcast_receiver_can_be_cancelled() -> None:
    sender, receiver = channel.broadcast(4)
    assert await tonio.time.timeout(receiver.receive(), 0.001) == (None, False)
    sender.send("later")
    assert await receiver.receive() == "later"


# --- watch ------------------------------------------------------------------------------------


@both
async def test_watch_gives_the_latest_value() -> None:
    sender, receiver = channel.watch(0)
    assert (receiver.value, receiver.changed()) == (0, False)
    for number in range(1, 4):
        sender.send(number)
    assert receiver.changed()
    assert await receiver.receive() == 3
    assert not receiver.changed()

    async def follow() -> list[int]:
        seen = []
        async for value in receiver:
            seen.append(value)
        return seen

    following = tonio.spawn(follow())
    for number in (10, 20, 30):
        await tonio.sleep(0.001)
        sender.send(number)
    await tonio.sleep(0.001)
    sender.close()
    seen = await following
    assert seen[-1] == 30
    assert seen == sorted(seen)


# --- misuse -----------------------------------------------------------------------------------


@both
async def test_misuse_is_told() -> None:
    with pytest.raises(ValueError):
        channel.broadcast(0)
    with pytest.raises(TypeError):
        channel.broadcast("2")  # type: ignore[arg-type]
    lock = sync.RwLock()
    async with lock.write():
        with pytest.raises(DeadlockError):
            await lock.write()
    free = sync.Condition()
    with free.or_raise(), pytest.raises(WouldBlock):
        free.try_acquire()
