"""`sync.Semaphore`: a number of tokens; nobody is passed by."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from helpers import in_thread, waiting
from notation import both

import tonio.colored as tonio
from tonio.colored.sync import Semaphore
from tonio.exceptions import WouldBlock


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await tonio.yield_now()


@both
async def test_no_more_than_its_value_get_in() -> None:
    semaphore = Semaphore(3)
    lock = tonio.sync.Lock()
    inside = most = total = 0

    async def worker() -> None:
        nonlocal inside, most, total
        for _ in range(30):
            async with semaphore():
                async with lock():
                    inside += 1
                    total += 1
                    most = max(most, inside)
                await tonio.yield_now()
                async with lock():
                    inside -= 1

    await tonio.spawn(*[worker() for _ in range(12)])
    assert total == 360
    assert 1 <= most <= 3
    assert semaphore.tokens() == 3


@both
async def test_tokens_are_counted() -> None:
    semaphore = Semaphore(3)
    assert semaphore.tokens() == 3
    async with semaphore():
        assert semaphore.tokens() == 2
        async with semaphore(2):
            assert semaphore.tokens() == 0
            assert semaphore.locked()
        assert semaphore.tokens() == 2
        assert not semaphore.locked()
    assert semaphore.tokens() == 3
    await semaphore.acquire(2)
    assert semaphore.tokens() == 1
    semaphore.release()
    semaphore.release(5)
    assert semaphore.tokens() == 7


@both(notations=["await"])
async def test_async_with_the_semaphore_itself() -> None:
    semaphore = Semaphore(2)
    async with semaphore as nothing:
        assert nothing is None
        assert semaphore.tokens() == 1
    assert semaphore.tokens() == 2


@both
async def test_semaphore_of_none_waits_for_a_release() -> None:
    semaphore = Semaphore(0)
    join = tonio.spawn(semaphore.acquire())
    await until(lambda: waiting(semaphore) == 1)
    assert semaphore.release() is None
    await join
    assert semaphore.tokens() == 0


@both
async def test_or_raise() -> None:
    semaphore = Semaphore(2)
    with semaphore.or_raise():
        assert semaphore.tokens() == 1
        with pytest.raises(WouldBlock):
            semaphore.or_raise(2)
        with semaphore.or_raise():
            with pytest.raises(WouldBlock, match="would have to wait"):
                semaphore.or_raise()
            with pytest.raises(WouldBlock):
                semaphore.try_acquire()
    assert semaphore.tokens() == 2
    assert semaphore.try_acquire(2) is True
    semaphore.release(k=2)
    assert semaphore.tokens() == 2


@both
async def test_many_tokens_are_not_starved_by_few() -> None:
    semaphore = Semaphore(3)
    order: list[str] = []

    async def worker(name: str, k: int) -> None:
        async with semaphore(k):
            order.append(name)

    await semaphore.acquire(2)
    big = tonio.spawn(worker("big", 3))
    await until(lambda: waiting(semaphore) == 1)
    small = tonio.spawn(worker("small", 1))
    await until(lambda: waiting(semaphore) == 2)
    assert semaphore.tokens() == 1  # it waits although there is one: the other was first
    assert semaphore.locked()
    with pytest.raises(WouldBlock):
        semaphore.try_acquire()
    semaphore.release()
    assert waiting(semaphore) == 2
    semaphore.release()
    await tonio.spawn.without_results(big, small)
    assert order == ["big", "small"]
    assert semaphore.tokens() == 3


@both
async def test_waiter_that_leaves_makes_way_for_those_behind_it() -> None:
    semaphore = Semaphore(2)
    await semaphore.acquire()
    big = tonio.spawn(semaphore.acquire(2))
    await until(lambda: waiting(semaphore) == 1)
    small = tonio.spawn(semaphore.acquire(1))
    await until(lambda: waiting(semaphore) == 2)
    big.cancel()
    await small
    assert semaphore.tokens() == 0
    with pytest.raises(tonio.exceptions.TaskCancelled):
        await big


@both
async def test_acquire_times_out() -> None:
    semaphore = Semaphore(1)
    with pytest.raises(TimeoutError):
        await semaphore.acquire(2, timeout=0.005)
    with pytest.raises(TimeoutError):
        await semaphore.acquire(k=2, timeout=0)
    assert semaphore.tokens() == 1
    async with semaphore(timeout=0):
        assert semaphore.tokens() == 0


@both
async def test_no_token_is_lost_in_races() -> None:
    """Time-outs and cancellations at the moment of the hand-over."""
    semaphore = Semaphore(5)

    async def worker(number: int) -> None:
        for turn in range(20):
            k = 1 + (number + turn) % 3
            try:
                await semaphore.acquire(k, timeout=((number * 7 + turn) % 13) * 0.00002)
            except TimeoutError:
                continue
            try:
                await tonio.yield_now()
            finally:
                semaphore.release(k)

    joins = [tonio.spawn(worker(number)) for number in range(40)]
    for join in joins[::3]:
        await tonio.yield_now()
        join.cancel()
    for join in joins:
        with contextlib.suppress(tonio.exceptions.TaskCancelled):
            await join
    assert semaphore.tokens() == 5
    assert waiting(semaphore) == 0


@both
async def test_releasing_above_the_most() -> None:
    semaphore = Semaphore(1, max_value=2)
    semaphore.release()
    with pytest.raises(ValueError, match="more than 2 tokens"):
        semaphore.release()
    assert semaphore.tokens() == 2
    held = await semaphore.acquire()
    with pytest.raises(ValueError, match="more than 2 tokens"):
        semaphore.release(2)
    held.release()
    with pytest.raises(RuntimeError, match="released already"):
        held.release()
    assert semaphore.tokens() == 2
    with pytest.raises(ValueError, match="waits for ever"):
        semaphore.acquire(3)


def test_semaphore_in_threads() -> None:
    semaphore = Semaphore(1)
    assert in_thread(semaphore.try_acquire) is True
    assert semaphore.tokens() == 0
    semaphore.release()  # whoever took it
    assert semaphore.tokens() == 1


@both
async def test_repr_shows_the_state() -> None:
    semaphore = Semaphore(2)
    assert "2 tokens, 0 waiting" in repr(semaphore)
    join = tonio.spawn(semaphore.acquire(3))
    await until(lambda: waiting(semaphore) == 1)
    assert "2 tokens, 1 waiting" in repr(semaphore)
    semaphore.release()
    await join
    assert "0 tokens, 0 waiting" in repr(semaphore)


@both
async def test_block_of_the_wrong_kind_names_the_right_one() -> None:
    semaphore: Any = Semaphore(1)
    right = r"with \(yield semaphore\(\)\)"
    with pytest.raises(TypeError, match=right):
        with semaphore:
            pass
    with pytest.raises(TypeError, match=right):
        with semaphore():
            pass
    assert semaphore.tokens() == 1


@pytest.mark.parametrize(
    ("arguments", "options", "error", "named"),
    [
        ((-1,), {}, ValueError, "value"),
        ((1.5,), {}, TypeError, "value"),
        (("1",), {}, TypeError, "value"),
        ((None,), {}, TypeError, "value"),
        ((), {}, TypeError, "value"),
        ((1, 2), {}, TypeError, "positional"),
        ((2**63,), {}, ValueError, "value"),
        ((1,), {"max_value": 0}, ValueError, "max_value"),
        ((2,), {"max_value": 1}, ValueError, "max_value"),
        ((2,), {"max_value": "1"}, TypeError, "max_value"),
    ],
)
def test_bad_arguments(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        Semaphore(*arguments, **options)


@pytest.mark.parametrize("method", ["acquire", "try_acquire", "or_raise", "release", "__call__"])
def test_bad_numbers_of_tokens(method: str) -> None:
    semaphore = Semaphore(3)
    function = getattr(semaphore, method)
    for bad in (0, -1, -(2**70), 2**70):
        with pytest.raises(ValueError, match="k must"):
            function(bad)
    for wrong in (1.5, "1", None):
        with pytest.raises(TypeError, match="k must be an integer"):
            function(wrong)
    assert semaphore.tokens() == 3
