"""`as_completed`: several coroutines, one value after the other in the order of completion."""

import gc
from typing import Any

import pytest
from notation import as_written, both

import tonio.colored as tonio
from tonio.exceptions import CancelledError, TaskCancelled


async def give(value: Any, delay: float = 0) -> Any:
    await tonio.sleep(delay)
    return value


async def fail(error: BaseException, delay: float = 0) -> None:
    await tonio.sleep(delay)
    raise error


async def hang(log: list[str], name: str = "rest") -> None:
    """Waits for its cancellation and says so."""
    try:
        await tonio.sleep(1000)
    except CancelledError:
        log.append(name)
        raise


async def fail_when_cancelled(message: str) -> None:
    try:
        await tonio.sleep(1000)
    finally:
        raise KeyError(message)


async def after(event: tonio.Event, value: Any) -> Any:
    await event.wait()
    return value


# --- values -----------------------------------------------------------------------------------


@both
async def test_values_come_in_the_order_of_completion() -> None:
    events = [tonio.Event() for _ in range(5)]
    order = [3, 0, 4, 1, 2]
    seen = []
    events[order[0]].set()
    async for value in tonio.as_completed(*[after(events[n], n) for n in range(5)]):
        seen.append(value)
        if len(seen) < 5:
            events[order[len(seen)]].set()
    assert seen == order


@both
async def test_every_value_comes_once() -> None:
    seen = []
    async for value in tonio.as_completed(*[give(n, 0.0001 * (n % 7)) for n in range(500)]):
        seen.append(value)
    assert sorted(seen) == list(range(500))


@both
async def test_no_coroutines_give_no_values() -> None:
    reached = []
    async for value in tonio.as_completed():
        reached.append(value)
    assert reached == []


@both
async def test_all_that_can_be_awaited() -> None:
    event = tonio.Event()
    event.set()
    seen = []
    join = tonio.spawn(give("task"))
    async for value in tonio.as_completed(
        event.wait(), tonio.sleep(0.001), give("coroutine"), join, tonio.time.timeout(give(1), 10)
    ):
        seen.append(value)
    assert sorted(map(str, seen)) == ["(1, True)", "None", "True", "coroutine", "task"]


@both
async def test_all_are_started_at_the_first_turn_and_none_before() -> None:
    started = []
    gate = tonio.Event()

    async def child(number: int) -> int:
        started.append(number)
        if len(started) == 3:
            gate.set()
        await gate.wait()
        return number

    iteration = tonio.as_completed(*[child(number) for number in range(3)])
    await tonio.sleep(0.002)
    assert started == []
    seen = []
    async for value in iteration:
        assert sorted(started) == [0, 1, 2]
        seen.append(value)
    assert sorted(seen) == [0, 1, 2]


@both
async def test_they_go_on_while_the_body_waits() -> None:
    seen = []
    async for value in tonio.as_completed(*[give(n, 0.001 * n) for n in range(10)]):
        seen.append(value)
        await tonio.sleep(0.003)
    assert sorted(seen) == list(range(10))


@both
async def test_iterations_nest() -> None:
    async def inner(number: int) -> list[int]:
        seen = []
        async for value in tonio.as_completed(give(number), give(number + 1)):
            seen.append(value)
        return sorted(seen)

    seen = []
    async for values in tonio.as_completed(*[inner(n) for n in range(0, 20, 2)]):
        async for value in tonio.as_completed(*[give(value) for value in values]):
            seen.append(value)
    assert sorted(seen) == list(range(20))


@both
async def test_values_of_many_iterations_at_once() -> None:
    async def total(number: int) -> int:
        result = 0
        async for value in tonio.as_completed(*[give(n, 0.0001 * (n % 3)) for n in range(number)]):
            result += value
        return result

    assert await tonio.map(total, range(30)) == [n * (n - 1) // 2 for n in range(30)]


# --- errors -----------------------------------------------------------------------------------


@both
async def test_error_comes_at_its_turn() -> None:
    log: list[str] = []
    seen = []
    event = tonio.Event()

    async def failing() -> None:
        await event.wait()
        raise ValueError("second")

    with pytest.raises(ValueError, match="second"):
        async for value in tonio.as_completed(failing(), give("first"), hang(log)):
            seen.append(value)
            await tonio.sleep(0.002)
            event.set()
    assert seen == ["first"]


@both(notations=("yield",))
async def test_iteration_goes_on_after_an_error() -> None:
    """With `for`, the error comes from the operation and not from the loop."""

    @as_written
    def task() -> Any:
        seen, failed = [], []
        for operation in tonio.as_completed(
            give(1, 0.002), fail(ValueError("one")), give(2, 0.004), fail(KeyError("two"), 0.003)
        ):
            try:
                seen.append((yield operation))
            except (ValueError, KeyError) as error:
                failed.append(type(error))
        return seen, failed

    assert await task() == ([1, 2], [ValueError, KeyError])


@both
async def test_cancelled_task_at_its_turn() -> None:
    join = tonio.spawn(tonio.sleep(1000))
    join.cancel()
    with pytest.raises(TaskCancelled):
        async for _ in tonio.as_completed(join):
            pass


@both
async def test_error_of_one_task_after_the_loop_was_left_by_another() -> None:
    """Every error comes out somewhere: at its turn, or where the rest is collected."""
    seen: list[str] = []

    async def task() -> None:
        async for _ in tonio.as_completed(
            fail(ValueError("one"), 0.002), fail_when_cancelled("two")
        ):
            pass

    with pytest.raises(ExceptionGroup) as caught:
        await tonio.spawn(task())

    def leaves(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                leaves(member)
        else:
            seen.append(str(error))

    leaves(caught.value)
    assert sorted(seen) == ["'two'", "one"]


# --- leaving early ----------------------------------------------------------------------------


@both
async def test_leaving_early_cancels_the_rest_which_ends_with_the_task() -> None:
    log: list[str] = []

    async def task() -> str:
        async for value in tonio.as_completed(
            hang(log, "one"), give("value", 0.002), hang(log, "two")
        ):
            assert value == "value"
            break
        return "left"

    assert await tonio.spawn(task()) == "left"
    assert sorted(log) == ["one", "two"]


@both
async def test_leaving_early_by_return_and_by_an_error() -> None:
    log: list[str] = []

    async def returns() -> Any:
        async for value in tonio.as_completed(hang(log), give("value", 0.002)):
            return value
        return None

    async def raises() -> None:
        async for _ in tonio.as_completed(hang(log), give("value", 0.002)):
            raise OSError("body")

    assert await tonio.spawn(returns()) == "value"
    assert log == ["rest"]
    with pytest.raises(ExceptionGroup) as caught:
        await tonio.spawn(raises())
    (error,) = caught.value.exceptions
    assert isinstance(error, OSError)
    assert log == ["rest", "rest"]


@both
async def test_rest_ends_with_the_scope_around_it() -> None:
    log: list[str] = []
    async with tonio.scope() as scope:
        async for _ in tonio.as_completed(hang(log), give("value", 0.002)):
            break
        await tonio.yield_now()
    assert log == ["rest"]
    assert not scope.cancel_called


@both
async def test_error_in_the_clean_up_of_the_rest_comes_where_it_is_collected() -> None:
    async def task() -> str:
        async for _ in tonio.as_completed(fail_when_cancelled("clean-up"), give(1, 0.002)):
            break
        return "value"

    for around in ("task", "scope"):
        with pytest.raises(ExceptionGroup) as caught:
            if around == "task":
                await tonio.spawn(task())
            else:
                async with tonio.scope():
                    await task()
        error: BaseException = caught.value
        while isinstance(error, ExceptionGroup):
            (error,) = error.exceptions
        assert str(error) == "'clean-up'"


@both
async def test_iteration_that_is_never_begun() -> None:
    started = []

    async def child() -> None:
        started.append("child")
        await tonio.yield_now()

    coro = child()
    iteration = tonio.as_completed(coro)
    del iteration
    coro.close()
    gc.collect()
    await tonio.sleep(0.001)
    assert started == []


# --- cancellation -----------------------------------------------------------------------------


@both
async def test_cancelled_iteration_ends_all() -> None:
    log: list[str] = []

    async def task() -> None:
        async for _ in tonio.as_completed(hang(log, "one"), hang(log, "two")):
            pass

    join = tonio.spawn(task())
    await tonio.sleep(0.003)
    join.cancel()
    with pytest.raises(TaskCancelled):
        await join
    assert sorted(log) == ["one", "two"]
    log.clear()
    assert await tonio.time.timeout(task(), 0.003) == (None, False)
    assert sorted(log) == ["one", "two"]


@both
async def test_iteration_in_a_cancelled_scope() -> None:
    log: list[str] = []
    async with tonio.scope() as scope:
        scope.cancel()
        async for _ in tonio.as_completed(hang(log, "one"), hang(log, "two")):
            log.append("not reached")
    assert "not reached" not in log
    assert scope.cancelled


# --- mistakes ---------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("thing", [None, 1, "coroutine", give], ids=repr)
async def test_what_cannot_run(thing: Any) -> None:
    coro = give(1)
    with pytest.raises(TypeError):
        async for _ in tonio.as_completed(coro, thing):
            pass
    coro.close()


@both
async def test_the_same_coroutine_twice() -> None:
    coro = give(1)
    with pytest.raises(RuntimeError):
        async for _ in tonio.as_completed(coro, coro):
            pass
    coro.close()


@both
async def test_iteration_belongs_to_one_task() -> None:
    """Two tasks may not share it by accident; it is an error or each value comes once."""
    iteration: Any = tonio.as_completed(*[give(n, 0.0005) for n in range(50)])
    seen: list[int] = []

    async def consume() -> None:
        try:
            async for value in iteration:
                seen.append(value)
        except RuntimeError:
            pass

    await tonio.spawn(consume(), consume())
    assert len(seen) == len(set(seen)) <= 50


@both
async def test_long_task_keeps_nothing_of_iterations_that_are_over() -> None:
    for _ in range(300):
        for next_value in tonio.as_completed(give(1), give(2)):
            await next_value
    gc.collect()
    assert sum(isinstance(thing, tonio.Scope) for thing in gc.get_objects()) < 10


@both
async def test_iteration_ends_with_the_time_limit_that_it_began_in() -> None:
    iteration = iter(tonio.as_completed(give(1), give(2, 0.01)))

    async def first() -> Any:
        return await next(iteration)

    assert await tonio.time.timeout(first(), 10) == (1, True)
    with pytest.raises(RuntimeError, match="ended with the scope"):
        await next(iteration)
