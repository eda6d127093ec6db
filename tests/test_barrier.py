"""`sync.Barrier`: tasks wait for each other."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from helpers import in_thread, waiting
from notation import both

import tonio.colored as tonio
from tonio.colored.sync import Barrier
from tonio.exceptions import ResourceBroken, TaskCancelled


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await tonio.yield_now()


@both
async def test_all_go_on_when_the_last_one_arrives() -> None:
    barrier = Barrier(3)
    count = tonio.sync.Semaphore(0)

    async def worker() -> int:
        count.release()
        place = await barrier.wait()
        assert count.tokens() == 3
        return place

    assert sorted(await tonio.spawn(worker(), worker(), worker())) == [0, 1, 2]


@both
async def test_result_is_the_place_in_the_order_of_arrival() -> None:
    barrier = Barrier(5)
    joins = []
    for number in range(4):
        assert barrier.value() == number
        joins.append(tonio.spawn(barrier.wait()))
        await until(lambda: waiting(barrier) == len(joins))
    assert await barrier.wait() == 4
    assert barrier.value() == 0
    for number, join in enumerate(joins):
        assert await join == number


@both
async def test_barrier_is_used_round_after_round() -> None:
    barrier = Barrier(4)
    rounds = 100
    arrivals = [tonio.sync.Semaphore(0) for _ in range(rounds)]

    async def worker() -> list[int]:
        places = []
        for round_ in range(rounds):
            arrivals[round_].release()
            places.append(await barrier.wait())
            assert arrivals[round_].tokens() == 4
        return places

    places = await tonio.spawn(worker(), worker(), worker(), worker())
    for of_round in zip(*places, strict=True):
        assert sorted(of_round) == [0, 1, 2, 3]
    assert barrier.value() == 0


@both
async def test_barrier_of_one_does_not_wait() -> None:
    barrier = Barrier(1)
    for _ in range(500):
        assert await barrier.wait() == 0
    assert barrier.ack() == 0
    assert barrier.value() == 0


@both
async def test_ack_arrives_without_waiting() -> None:
    barrier = Barrier(3)
    assert barrier.ack() == 0
    assert barrier.value() == 1
    join = tonio.spawn(barrier.wait())
    await until(lambda: waiting(barrier) == 1)
    assert barrier.value() == 2
    assert in_thread(barrier.ack) == 2
    assert await join == 1
    assert barrier.value() == 0


@both
async def test_waiter_that_is_cancelled_has_not_arrived() -> None:
    barrier = Barrier(3)
    joins = []
    for _number in range(2):
        joins.append(tonio.spawn(barrier.wait()))
        await until(lambda: waiting(barrier) == len(joins))
    joins[0].cancel()
    await until(lambda: waiting(barrier) == 1)
    assert barrier.value() == 1
    third = tonio.spawn(barrier.wait())
    await until(lambda: waiting(barrier) == 2)
    assert await barrier.wait() == 2
    assert [await joins[1], await third] == [0, 1]
    with pytest.raises(TaskCancelled):
        await joins[0]


@both
async def test_wait_times_out() -> None:
    barrier = Barrier(2)
    for seconds in (0, 0.005):
        with pytest.raises(TimeoutError):
            await barrier.wait(timeout=seconds)
        assert barrier.value() == 0
    join = tonio.spawn(barrier.wait(10))
    await until(lambda: waiting(barrier) == 1)
    assert await barrier.wait(0) == 1
    assert await join == 0


@both
async def test_end_of_a_round_races_with_timeouts() -> None:
    """Whoever leaves, nobody is left behind or counted twice."""
    barrier = Barrier(4)

    async def worker(number: int) -> None:
        for turn in range(30):
            with contextlib.suppress(TimeoutError):
                await barrier.wait(timeout=((number * 5 + turn) % 7) * 0.00003)

    for _ in range(5):
        await tonio.map(worker, range(11))
        assert (barrier.value(), waiting(barrier)) == (0, 0)
        places = await tonio.map(lambda _: barrier.wait(10), range(4))
        assert sorted(places) == [0, 1, 2, 3]


@both
async def test_abort_breaks_it_until_reset() -> None:
    barrier = Barrier(3)

    async def waiter() -> None:
        with pytest.raises(ResourceBroken, match="abort"):
            await barrier.wait()

    join = tonio.spawn(waiter(), waiter())
    await until(lambda: waiting(barrier) == 2)
    assert not barrier.broken()
    barrier.abort()
    await join
    assert barrier.broken()
    with pytest.raises(ResourceBroken):
        await barrier.wait()
    with pytest.raises(ResourceBroken):
        barrier.ack()
    assert barrier.value() == 0
    assert "broken" in repr(barrier)
    barrier.reset()
    assert not barrier.broken()
    results = await tonio.spawn(barrier.wait(), barrier.wait(), barrier.wait())
    assert sorted(results) == [0, 1, 2]


@both
async def test_repr_shows_the_state() -> None:
    barrier = Barrier(2)
    assert "0 of 2 arrived, 0 waiting" in repr(barrier)
    join = tonio.spawn(barrier.wait())
    await until(lambda: waiting(barrier) == 1)
    assert "1 of 2 arrived, 1 waiting" in repr(barrier)
    barrier.ack()
    await join


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (2**31, ValueError), (2**70, ValueError)]
    + [(wrong, TypeError) for wrong in (1.5, "1", None)],
)
def test_bad_values(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="value must be"):
        Barrier(value)


def test_bad_arguments() -> None:
    barrier: Any = Barrier
    with pytest.raises(TypeError):
        barrier()
    with pytest.raises(ValueError, match="timeout"):
        barrier(1).wait(timeout=-1)
