"""A pinned task stays in its thread."""

import threading
from collections import Counter

import pytest
from notation import both

import tonio.colored as tonio
from tonio.exceptions import RuntimeNotInitializedError


async def wander(rounds: int) -> set[int]:
    """Waits in several ways; the threads it went on in."""
    event = tonio.Event()
    seen = set()
    for number in range(rounds):
        if number % 3 == 0:
            await tonio.sleep(0.0001)
        elif number % 3 == 1:
            await tonio.yield_now()
        else:
            await event.wait(0.0001)
        seen.add(threading.get_ident())
    return seen


@both
async def test_pinned_tasks_stay_in_their_threads() -> None:
    async def task() -> int:
        sum(range(1000))
        await tonio.yield_now()
        with tonio.pinned():
            ident = threading.get_ident()
            with tonio.pinned():
                assert await wander(20) == {ident}
            assert await wander(20) == {ident}
            assert await tonio.spawn_blocking(int) == 0
            assert threading.get_ident() == ident
        await wander(5)
        return ident

    threads = Counter(await tonio.spawn(*[task() for _ in range(40)]))
    assert sum(threads.values()) == 40


@both
async def test_pinned_and_other_tasks_take_turns() -> None:
    stop = tonio.Event()
    turns: list[str] = []

    async def pinned() -> None:
        with tonio.pinned():
            while not stop.is_set():
                await tonio.yield_now()

    async def other() -> None:
        for _ in range(50):
            await tonio.yield_now()
        turns.append("other")
        stop.set()

    await tonio.spawn(pinned(), other())
    assert turns == ["other"]


@both
async def test_pinned_task_can_be_cancelled() -> None:
    async with tonio.scope() as scope:

        async def task() -> None:
            with tonio.pinned():
                await tonio.sleep(1000)

        join = scope.spawn(task())
        await tonio.sleep(0.002)
        scope.cancel()
    assert join.done()
    assert scope.cancelled


@both
async def test_block_is_left_by_the_task_that_entered_it() -> None:
    block = tonio.pinned()

    async def leave() -> None:
        with pytest.raises(RuntimeError, match="by the task that entered it"):
            block.__exit__(None, None, None)
        await tonio.yield_now()

    with block:
        with pytest.raises(RuntimeError, match="entered before"):
            block.__enter__()
        await tonio.spawn(leave())


def test_outside_of_a_task_there_is_nothing_to_pin() -> None:
    with pytest.raises(RuntimeNotInitializedError):
        tonio.pinned().__enter__()


@both
async def test_too_many_nested_blocks_are_refused() -> None:
    blocks = [tonio.pinned() for _ in range(65535)]
    for block in blocks:
        block.__enter__()
    try:
        with pytest.raises(RecursionError, match="pinned"):
            tonio.pinned().__enter__()
    finally:
        for block in reversed(blocks):
            block.__exit__(None, None, None)
    await wander(5)
