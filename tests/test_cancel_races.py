"""Cancellations that race with completions; stress/cancel_races.py is the long form."""

import sys
from pathlib import Path

import pytest
from notation import both

import tonio.colored as tonio
from tonio.exceptions import CancelledError

sys.path.insert(0, str(Path(__file__).parent / "stress"))
import cancel_races


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("name", cancel_races.KINDS)
def test_one_of_the_two_wins(name: str, threads: int) -> None:
    outcomes = cancel_races.race(name, 4 * cancel_races.BATCH, threads)
    assert outcomes.total() == 4 * cancel_races.BATCH


@both
async def test_waiter_that_is_cancelled_with_what_it_waits_for_is_cancelled() -> None:
    async def wait_for_a_child() -> None:
        async with tonio.scope() as inner:
            await inner.spawn(tonio.sleep(1000))

    async def wait_for_the_first() -> None:
        await tonio.select(wait_for_a_child(), wait_for_a_child())

    async def wait_for_each() -> None:
        async for _ in tonio.as_completed(wait_for_a_child(), wait_for_a_child()):
            raise AssertionError

    for wait in (wait_for_a_child, wait_for_the_first, wait_for_each):
        for _ in range(30):
            async with tonio.scope() as scope:
                joins = [scope.spawn(wait()) for _ in range(4)]
                await tonio.sleep(0.0005)
                scope.cancel()
            assert scope.cancelled
            assert all(join.done() for join in joins)


@both
async def test_cancelled_join_is_a_cancellation_in_a_cancelled_scope_only() -> None:
    join = tonio.spawn(tonio.sleep(1000))
    join.cancel()
    with pytest.raises(tonio.exceptions.TaskCancelled):
        await join
    caught: list[type[BaseException]] = []
    async with tonio.scope() as scope:
        scope.cancel()
        try:
            await join
        except BaseException as error:
            caught.append(type(error))
            raise
    assert caught == [CancelledError]
