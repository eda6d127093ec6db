"""`scope`: mistakes, and blocks that are left in unusual ways. Nothing hangs, nothing is lost."""

import gc
import math
import warnings
from contextlib import suppress
from typing import Any

import pytest
from helpers import in_thread
from notation import both

import tonio.colored as tonio
from tonio.exceptions import CancelledError, TaskCancelled


async def give(value: Any) -> Any:
    await tonio.yield_now()
    return value


async def fail(error: BaseException) -> None:
    await tonio.yield_now()
    raise error


async def hang(log: list[str], name: str = "child") -> None:
    """Waits for its cancellation and says so."""
    try:
        await tonio.sleep(1000)
    except CancelledError:
        log.append(name)
        raise


def messages(error: BaseExceptionGroup[Any]) -> list[str]:
    return sorted(map(str, error.exceptions))


# --- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"timeout": -1}, ValueError, "timeout"),
        ({"timeout": math.nan}, ValueError, "timeout"),
        ({"timeout": "1"}, TypeError, "timeout"),
        ({"deadline": math.nan}, ValueError, "deadline"),
        ({"deadline": "1"}, TypeError, "deadline"),
        ({"timeout": 1, "deadline": 2}, ValueError, "deadline"),
        ({"shield": "yes"}, TypeError, "shield"),
        ({"timeuot": 1}, TypeError, "timeuot"),
    ],
    ids=str,
)
def test_wrong_argument_is_named(
    arguments: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        tonio.scope(**arguments)


def test_arguments_have_names() -> None:
    with pytest.raises(TypeError):
        tonio.scope(1)  # type: ignore[call-arg]


def test_arguments_that_mean_no_limit() -> None:
    for arguments in ({}, {"timeout": None}, {"timeout": math.inf}, {"deadline": None}):
        assert tonio.scope(**arguments).deadline == math.inf
    assert tonio.scope(deadline=math.inf).deadline == math.inf
    assert tonio.scope().shield is False
    assert tonio.scope(shield=True).shield is True


@both
async def test_attributes_take_what_the_arguments_take() -> None:
    async with tonio.scope() as scope:
        for wrong, error in ((math.nan, ValueError), ("1", TypeError)):
            with pytest.raises(error, match="deadline"):
                scope.deadline = wrong
        with pytest.raises(TypeError, match="shield"):
            scope.shield = "yes"
        for name in ("shield", "cancelled", "cancel_called"):
            with pytest.raises((AttributeError, TypeError)):
                delattr(scope, name)
        for name in ("cancelled", "cancel_called"):
            with pytest.raises(AttributeError):
                setattr(scope, name, True)
        assert scope.deadline == math.inf
        assert scope.shield is False
        assert scope.cancel_called is False


@both
@pytest.mark.parametrize("thing", [None, 1, "coroutine", give, [], object()], ids=repr)
async def test_spawn_of_what_cannot_run(thing: Any) -> None:
    async with tonio.scope() as scope:
        with pytest.raises(TypeError):
            scope.spawn(thing)
        assert await scope.spawn(give(1)) == 1


@both
async def test_spawn_takes_one_coroutine() -> None:
    async with tonio.scope() as scope:
        with pytest.raises(TypeError):
            scope.spawn()
        first, second = give(1), give(2)
        with pytest.raises(TypeError):
            scope.spawn(first, second)
    for coro in (first, second):
        coro.close()


@both
async def test_coroutine_is_given_once() -> None:
    async with tonio.scope() as scope:
        coro = give(1)
        join = scope.spawn(coro)
        with pytest.raises(RuntimeError):
            scope.spawn(coro)
        assert await join == 1


# --- before and after -------------------------------------------------------------------------


@both
async def test_scope_is_entered_once() -> None:
    async with tonio.scope() as scope:
        with pytest.raises(RuntimeError):
            scope.__enter__()
        assert await scope.spawn(give(1)) == 1
    with pytest.raises(RuntimeError):
        scope.__enter__()
    assert await scope() is None


@both(notations=("await",))
async def test_scope_is_entered_once_by_async_with() -> None:
    scope = tonio.scope()
    async with scope:
        with pytest.raises(RuntimeError):
            async with scope:
                pass
        assert await scope.spawn(give(1)) == 1
    with pytest.raises(RuntimeError):
        async with scope:
            pass


@both
async def test_spawning_before_entering() -> None:
    scope = tonio.scope()
    coro = give(1)
    with pytest.raises(RuntimeError):
        scope.spawn(coro)
    with pytest.raises(RuntimeError):
        await coro  # it was closed
    del coro
    gc.collect()


@both
async def test_waiting_for_a_scope_that_was_never_entered() -> None:
    scope = tonio.scope()
    with pytest.raises(RuntimeError):
        await scope()


async def expect_refused(scope: Any, spawn: Any = None) -> None:
    """Spawning warns, closes the coroutine and gives a cancelled join."""
    ran = []

    async def child() -> None:
        ran.append("child")
        await tonio.yield_now()

    coro = child()
    with pytest.warns(RuntimeWarning) as caught:
        join = scope.spawn(coro) if spawn is None else spawn(coro)
    assert not [w for w in caught if "never awaited" in str(w.message)]
    assert join.done()
    assert join.cancel() is False
    with pytest.raises(TaskCancelled):
        await join
    with pytest.raises(RuntimeError):
        await coro
    del coro
    gc.collect()
    assert ran == []


@both
async def test_spawning_after_the_end() -> None:
    async with tonio.scope() as scope:
        pass
    await expect_refused(scope)
    await expect_refused(scope, lambda coro: in_thread(lambda: scope.spawn(coro)))
    async with tonio.scope() as cancelled:
        cancelled.cancel()
    await expect_refused(cancelled)


@both
async def test_spawning_after_the_block_but_before_the_end() -> None:
    """The host and foreign threads have no business there any more; the children may."""
    log: list[str] = []
    with tonio.scope() as scope:
        scope.spawn(hang(log))
    await expect_refused(scope)
    await expect_refused(scope, lambda coro: in_thread(lambda: scope.spawn(coro)))
    await tonio.sleep(0.001)
    scope.cancel()
    await scope()
    assert log == ["child"]


@both
async def test_warning_that_is_an_error() -> None:
    async with tonio.scope() as scope:
        pass
    coro = give(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            scope.spawn(coro)
    with pytest.raises(RuntimeError):
        await coro


# --- waiting for it ---------------------------------------------------------------------------


@both
async def test_waiting_for_the_scope_inside_its_own_block() -> None:
    async with tonio.scope() as scope:
        scope.spawn(give(1))
        with pytest.raises(RuntimeError):
            await scope()
        await tonio.yield_now()
    assert await scope() is None


@both
async def test_waiting_for_the_scope_in_a_block_inside_it() -> None:
    async with tonio.scope() as scope:
        async with tonio.scope():
            with pytest.raises(RuntimeError):
                await scope()
        await tonio.yield_now()
    assert await scope() is None


@both
async def test_waiting_for_a_scope_of_another_task() -> None:
    async def stranger(scope: Any) -> None:
        with pytest.raises(RuntimeError):
            await scope()

    async with tonio.scope() as scope:
        await tonio.spawn(stranger(scope))
        await scope.spawn(stranger(scope))  # a child is another task, too
    release = tonio.Event()
    with tonio.scope() as uncollected:
        uncollected.spawn(release.wait())
    await tonio.spawn(stranger(uncollected))
    release.set()
    assert await uncollected() is None


@both
def test_what_nobody_waited_for_is_collected_at_the_end_of_the_task(threads: int) -> None:
    log: list[str] = []

    async def child(name: str) -> None:
        await tonio.sleep(0.003)
        log.append(name)

    async def nested() -> str:
        with tonio.scope() as scope:
            scope.spawn(child("nested"))
        return "nested"

    async def task() -> str:
        with tonio.scope() as first:
            first.spawn(child("first"))
        with tonio.scope() as second:
            second.spawn(child("second"))
        log.append(await nested())
        return "value"

    async def main() -> None:
        assert await tonio.spawn(task()) == "value"
        assert log[0] == "nested"
        assert sorted(log) == ["first", "nested", "nested", "second"]
        with tonio.scope() as scope:
            scope.spawn(child("main"))

    tonio.run(main(), threads=threads)
    assert log[-1] == "main"


@both
async def test_errors_that_nobody_waited_for_end_the_task() -> None:
    async def task() -> str:
        with tonio.scope() as first:
            first.spawn(fail(ValueError("first")))
        with tonio.scope() as second:
            second.spawn(fail(ValueError("second")))
        with suppress(CancelledError):
            await tonio.yield_now()
        return "value"

    def leaves(error: BaseException) -> list[str]:
        if isinstance(error, BaseExceptionGroup):
            return [leaf for member in error.exceptions for leaf in leaves(member)]
        return [str(error)]

    with pytest.raises(ExceptionGroup) as caught:
        await tonio.spawn(task())
    assert sorted(leaves(caught.value)) == ["first", "second"]


@both
async def test_what_nobody_waited_for_ends_with_the_scope_around_it() -> None:
    log: list[str] = []

    async def child() -> None:
        await tonio.sleep(0.003)
        log.append("child")

    async def nested() -> None:
        with tonio.scope() as inner:
            inner.spawn(child())
        await tonio.yield_now()

    async with tonio.scope() as outer:
        await nested()
        log.append("body")
    log.append("after")
    assert log == ["body", "child", "after"]

    async def fails() -> None:
        with tonio.scope() as inner:
            inner.spawn(fail(ValueError("uncollected")))
        await tonio.yield_now()

    with pytest.raises(ExceptionGroup) as caught:
        async with tonio.scope() as outer:
            await fails()
    error: BaseException = caught.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert str(error) == "uncollected"
    assert outer.cancelled is False


@both
async def test_cancelling_reaches_what_was_not_collected() -> None:
    log: list[str] = []
    async with tonio.scope() as outer:
        with tonio.scope() as inner:
            inner.spawn(hang(log))
        await tonio.sleep(0.002)
        outer.cancel()
    assert log == ["child"]


@both
async def test_what_nobody_waited_for_ends_with_its_time_limit() -> None:
    log: list[str] = []

    async def limited(delay: float) -> str:
        with tonio.scope() as inner:
            inner.spawn(hang(log))
        await tonio.sleep(delay)
        inner.cancel()
        return "value"

    assert await tonio.time.timeout(limited(1000), 0.005) == (None, False)
    assert log == ["child"]
    assert await tonio.time.timeout(limited(0.001), 10) == ("value", True)
    assert log == ["child", "child"]


@both
async def test_cancelled_task_with_an_uncollected_scope() -> None:
    log: list[str] = []

    async def task() -> None:
        with tonio.scope() as inner:
            inner.spawn(hang(log))

    join = tonio.spawn(task())
    await tonio.sleep(0.003)
    assert not join.done()
    join.cancel()
    with suppress(TaskCancelled):
        assert await join is None
    assert log == ["child"]


# --- leaving it -------------------------------------------------------------------------------


@both
async def test_leaving_the_block_by_return_break_and_continue() -> None:
    log: list[str] = []

    async def task() -> str:
        for turn in range(3):
            with tonio.scope() as scope:
                scope.spawn(hang(log))
                await tonio.sleep(0.001)
                scope.cancel()
                if turn == 0:
                    continue
                if turn == 1:
                    break
        with tonio.scope() as scope:
            scope.spawn(hang(log))
            await tonio.sleep(0.001)
            scope.cancel()
            return "value"

    assert await tonio.spawn(task()) == "value"
    assert log == ["child"] * 3


@both(notations=("await",))
async def test_leaving_async_with_by_return() -> None:
    log: list[str] = []

    async def task() -> str:
        async with tonio.scope() as scope:
            scope.spawn(hang(log))
            await tonio.sleep(0.001)
            scope.cancel()
            return "value"

    assert await task() == "value"
    assert log == ["child"]


@both
async def test_outer_scope_that_is_left_before_the_inner_one() -> None:
    log: list[str] = []

    async def task() -> None:
        outer, inner = tonio.scope(), tonio.scope()
        outer.__enter__()
        inner.__enter__()
        inner.spawn(hang(log, "inner"))
        await tonio.sleep(0.002)
        with pytest.raises(RuntimeError):
            outer.__exit__(None, None, None)
        assert inner.cancel_called
        with pytest.warns(RuntimeWarning):  # it is closed
            inner.spawn(give(1))
        with suppress(RuntimeError):
            inner.__exit__(None, None, None)
        await tonio.sleep(0.001)  # this task goes on
        log.append("goes on")

    await tonio.spawn(task())
    assert sorted(log) == ["goes on", "inner"]


@both
async def test_scope_that_is_never_left() -> None:
    """Its children end with the task at the latest, and so does the scope."""
    log: list[str] = []
    scopes = []

    async def task() -> str:
        scope = tonio.scope()
        scopes.append(scope)
        scope.__enter__()
        scope.spawn(hang(log))
        await tonio.sleep(0.002)
        return "value"

    join = tonio.spawn(task())
    limited: Any = await tonio.time.timeout(join, 5)
    assert limited == ("value", True)
    assert log == ["child"]
    assert scopes[0].cancel() is False


@both
async def test_block_that_is_left_by_another_task() -> None:
    log: list[str] = []

    async def stranger(scope: Any) -> None:
        with pytest.raises(RuntimeError):
            scope.__exit__(None, None, None)

    async with tonio.scope() as scope:
        scope.spawn(hang(log))
        await tonio.spawn(stranger(scope))
        await tonio.sleep(0.001)
        with pytest.raises(RuntimeError):
            in_thread(lambda: scope.__exit__(None, None, None))
        assert not scope.cancel_called
        assert await scope.spawn(give(1)) == 1
        scope.cancel()
    assert log == ["child"]


@both
async def test_exit_without_entering_and_twice() -> None:
    scope = tonio.scope()
    with pytest.raises(RuntimeError):
        scope.__exit__(None, None, None)
    with scope:
        pass
    with pytest.raises(RuntimeError):
        scope.__exit__(None, None, None)
    await scope()


@both
async def test_generator_with_an_open_scope_that_is_dropped() -> None:
    """A plain generator, driven by the task's own code, that holds a scope open over a yield."""
    log: list[str] = []

    def numbers() -> Any:
        with tonio.scope() as scope:
            scope.spawn(hang(log))
            yield 1
            yield 2

    async def task() -> None:
        generator = numbers()
        assert next(generator) == 1
        await tonio.sleep(0.002)
        del generator
        gc.collect()
        await tonio.sleep(0.001)

    await tonio.spawn(task())
    assert log == ["child"]
