"""Coroutines inside coroutines: in one notation, in the other, mixed, and very deep."""

import sys
import traceback
from collections.abc import Generator
from typing import Any

import pytest
from helpers import functions_in
from notation import as_written, both

import tonio.colored as tonio

# --- one notation -----------------------------------------------------------------------------


async def add(left: int, right: int) -> int:
    await tonio.yield_now()
    return left + right


@both
async def test_nested_coroutine_gives_its_value() -> None:
    assert await add(1, 2) == 3
    assert await add(await add(1, 2), await add(3, 4)) == 10


@both
async def test_nested_coroutine_that_never_waits() -> None:
    async def instant() -> str:
        return "value"

    async def nothing() -> None:
        pass

    assert await instant() == "value"
    assert await nothing() is None


@both
async def test_values_of_every_kind_pass_unchanged() -> None:
    async def give(value: Any) -> Any:
        await tonio.yield_now()
        return value

    for value in (None, (), (1,), (1, 2), StopIteration(3), ValueError, KeyError("x"), [None]):
        assert await give(value) is value


@both
async def test_error_of_a_nested_coroutine_can_be_caught() -> None:
    async def fail() -> None:
        await tonio.yield_now()
        raise ValueError("nested")

    for _ in range(3):
        with pytest.raises(ValueError, match="nested"):
            await fail()
    assert await add(1, 1) == 2


@both
async def test_finally_blocks_run_from_the_inside_out() -> None:
    log = []

    async def level(number: int) -> None:
        try:
            if number == 0:
                raise ValueError
            await level(number - 1)
        finally:
            log.append(number)
            await tonio.yield_now()

    with pytest.raises(ValueError):
        await level(5)
    assert log == [0, 1, 2, 3, 4, 5]


@both
async def test_traceback_shows_every_level_once() -> None:
    async def level_2() -> None:
        await tonio.sleep(0.001)
        raise ValueError("deep")

    async def level_1() -> None:
        await tonio.yield_now()
        await level_2()

    async def level_0() -> None:
        await level_1()

    with pytest.raises(ValueError) as caught:
        await level_0()
    own, *nested = functions_in(caught.value)
    assert own == "test_traceback_shows_every_level_once"
    assert nested == ["level_0", "level_1", "level_2"]
    lines = [frame.line for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert lines == [
        "await level_0()",
        "await level_1()",
        "await level_2()",
        'raise ValueError("deep")',
    ]


@both
async def test_error_of_an_operation_is_raised_where_it_is_awaited() -> None:
    async def child() -> None:
        raise KeyError("child")

    async def nested() -> None:
        await tonio.spawn(child())

    with pytest.raises(ExceptionGroup) as caught:
        await nested()
    assert functions_in(caught.value)[-1] == "nested"


@both
async def test_loops_of_nested_calls_do_not_pile_up() -> None:
    total = 0
    for number in range(10_000):
        total = await add(total, number)
    assert total == sum(range(10_000))


# --- both notations ---------------------------------------------------------------------------


def generator(value: int) -> Generator[Any, Any, int]:
    yield
    yield tonio.sleep(0)
    return value + 1


@as_written
async def coroutine(value: int) -> int:
    await tonio.sleep(0)
    await tonio.sleep(0.0001)
    return value + 1


def generator_over_coroutine(value: int) -> Generator[Any, Any, int]:
    inner: int = yield coroutine(value)
    yield
    return inner + 1


class Awaiting:
    """An object of the user's own, for either notation."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, Any, int]:
        yield  # a suspension point
        yield from tonio.sleep(0)
        return self.value + 1


class AwaitingCoroutine(Awaiting):
    def __await__(self) -> Any:
        return coroutine(self.value).__await__()


@as_written
async def coroutine_over_generator(value: int) -> int:
    """A coroutine can await no generator, but it can spawn it, and await what awaits it."""
    return 1 + await tonio.spawn(generator(value))


@as_written
async def coroutine_over_object(value: int) -> int:
    return await Awaiting(value) + await AwaitingCoroutine(value)


@both
async def test_what_either_notation_can_spawn() -> None:
    results = await tonio.spawn(
        generator(1),
        coroutine(1),
        generator_over_coroutine(1),
        coroutine_over_generator(1),
        coroutine_over_object(1),
        Awaiting(1),
        AwaitingCoroutine(1),
    )
    assert results == [2, 2, 3, 3, 4, 2, 2]


@both
async def test_objects_with_await_can_be_awaited_and_yielded() -> None:
    assert await Awaiting(1) == 2
    assert await AwaitingCoroutine(1) == 2
    assert await coroutine(1) == 2


@both(notations=("yield",))
def test_generator_yields_all_that_can_be_awaited(threads: int) -> None:
    def main() -> Generator[Any, Any, list[Any]]:
        results = []
        for thing in (
            generator(1),
            coroutine(1),
            generator_over_coroutine(1),
            coroutine_over_generator(1),
            coroutine_over_object(1),
            Awaiting(1),
            AwaitingCoroutine(1),
            tonio.sleep(0),
            None,
            tonio.time.timeout(coroutine(1), 10),
            tonio.spawn(generator(1)),
        ):
            value = yield thing
            results.append(value)
        return results

    assert tonio.run(main(), threads=threads) == [2, 2, 3, 3, 4, 2, 2, None, None, (2, True), 2]


@both(notations=("yield",))
def test_yield_from_an_operation(threads: int) -> None:
    def main() -> Generator[Any, Any]:
        event = tonio.Event()
        tonio.spawn(set_later(event))
        assert (yield from event.wait()) is True
        assert (yield from tonio.sleep(0.001)) is None
        assert (yield from tonio.spawn(generator(1), generator(2))) == [2, 3]
        assert (yield from tonio.Event().wait(0.001)) is False
        assert (yield from tonio.time.timeout(generator(1), 10)) == (2, True)
        with pytest.raises(ExceptionGroup):
            yield from tonio.spawn(failing())

    def set_later(event: tonio.Event) -> Generator[Any, Any]:
        yield from tonio.sleep(0.001)
        event.set()

    def failing() -> Generator[Any, Any]:
        yield
        raise ValueError

    tonio.run(main(), threads=threads)


@both(notations=("yield",))
def test_yield_from_a_generator(threads: int) -> None:
    def inner(value: int) -> Generator[Any, Any, int]:
        first = yield from generator(value)
        second: int = yield generator(first)
        return second

    def main() -> Generator[Any, Any, int]:
        return (yield from inner(1))

    assert tonio.run(main(), threads=threads) == 3


@both(notations=("yield",))
def test_error_passes_from_one_notation_to_the_other(threads: int) -> None:
    @as_written
    async def inner() -> None:
        await tonio.sleep(0)
        raise ValueError("inner")

    def middle() -> Generator[Any, Any]:
        yield inner()

    @as_written
    async def outer() -> None:
        await tonio.spawn(middle())

    def main() -> Generator[Any, Any, BaseException]:
        with pytest.raises(ExceptionGroup) as caught:
            yield outer()
        return caught.value.exceptions[0]

    error = tonio.run(main(), threads=threads)
    assert isinstance(error, ValueError)
    assert functions_in(error) == ["middle", "inner"]


@both(notations=("await",))
async def test_async_generators_can_be_used() -> None:
    async def numbers() -> Any:
        for number in range(5):
            await tonio.yield_now()
            yield number
            await tonio.sleep(0)

    assert [number async for number in numbers()] == [0, 1, 2, 3, 4]
    total = 0
    async for number in numbers():
        total += number
    assert total == 10


@both(notations=("await",))
async def test_async_context_managers_can_be_used() -> None:
    log = []

    class Manager:
        async def __aenter__(self) -> str:
            await tonio.sleep(0)
            return "entered"

        async def __aexit__(self, *error: object) -> bool:
            await tonio.sleep(0.001)
            log.append(error[0])
            return True

    async with Manager() as value:
        assert value == "entered"
        raise ValueError
    assert log == [ValueError]


# --- depth ------------------------------------------------------------------------------------


@both(notations=("yield",))
def test_twenty_thousand_levels(threads: int) -> None:
    def level(number: int) -> Generator[Any, Any, int]:
        if number == 0:
            yield
            yield tonio.sleep(0.001)
            return 0
        return 1 + (yield level(number - 1))

    def main() -> Generator[Any, Any, int]:
        both_depths = yield tonio.spawn(level(20_000), level(10_000))
        assert both_depths == [20_000, 10_000]
        return (yield level(20_000))

    assert tonio.run(main(), threads=threads) == 20_000


@both(notations=("yield",))
def test_error_climbs_twenty_thousand_levels(threads: int) -> None:
    ended = []

    def level(number: int) -> Generator[Any, Any]:
        try:
            if number == 0:
                yield
                raise ValueError("bottom")
            yield level(number - 1)
        finally:
            ended.append(number)

    with pytest.raises(ValueError, match="bottom") as caught:
        tonio.run(level(20_000), threads=threads)
    assert ended == list(range(20_001))
    depth = 0
    trace = caught.value.__traceback__
    while trace is not None:
        depth += 1
        trace = trace.tb_next
    assert depth >= 20_001
    drop_traceback(caught.value)


@both(notations=("yield",))
def test_cancellation_climbs_twenty_thousand_levels(threads: int) -> None:
    ended = []

    def level(number: int) -> Generator[Any, Any]:
        try:
            yield tonio.sleep(1000) if number == 0 else level(number - 1)
        finally:
            ended.append(number)

    def main() -> Generator[Any, Any, Any]:
        return (yield tonio.time.timeout(level(20_000), 0))

    assert tonio.run(main(), threads=threads) == (None, False)
    assert ended == list(range(20_001))


@both(notations=("yield",))
def test_endless_nesting_is_a_recursion_error(threads: int) -> None:
    def endless() -> Generator[Any, Any]:
        yield endless()

    def main() -> Generator[Any, Any, str]:
        try:
            yield endless()
        except RecursionError as error:
            drop_traceback(error)
            yield  # the task goes on
            return "recursion"
        return "no error"

    assert tonio.run(main(), threads=threads) == "recursion"
    with pytest.raises(RecursionError) as caught:
        tonio.run(endless(), threads=threads)
    drop_traceback(caught.value)


@both(notations=("await",))
async def test_endless_await_is_a_recursion_error() -> None:
    async def endless() -> None:
        await endless()

    with pytest.raises(RecursionError) as caught:
        await endless()
    drop_traceback(caught.value)
    await tonio.sleep(0)


@both
async def test_hundreds_of_levels_in_both_notations() -> None:
    async def level(number: int) -> int:
        if number == 0:
            await tonio.sleep(0.001)
            return 0
        return 1 + await level(number - 1)

    depth = sys.getrecursionlimit() // 2
    assert await level(depth) == depth


def drop_traceback(error: BaseException) -> None:
    """A traceback as deep as that is freed level by level, not in one recursion."""
    trace = error.__traceback__
    error.__traceback__ = None
    while trace is not None:
        following, trace.tb_next = trace.tb_next, None
        trace = following
