"""`sync.Condition`: waiting, with a lock, until something is so."""

import pytest
from notation import both

import tonio.colored as tonio
from tonio.colored import sync
from tonio.exceptions import WouldBlock


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


@both
async def test_condition_that_is_held_cannot_be_tried() -> None:
    free = sync.Condition()
    with free.or_raise(), pytest.raises(WouldBlock):
        free.try_acquire()
