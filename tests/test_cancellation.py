"""How a cancellation is delivered: at which points, how often, past which shields."""

import contextvars
import traceback
from collections.abc import Callable
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import pytest
from kinds import FACTOR
from notation import as_written, both

import tonio.colored as tonio
from tonio.exceptions import CancelledError, TaskCancelled


async def give(value: Any) -> Any:
    await tonio.yield_now()
    return value


async def hang(log: list[str], name: str = "child") -> None:
    """Waits for its cancellation and says so."""
    try:
        await tonio.sleep(1000)
    except CancelledError:
        log.append(name)
        raise


def set_event() -> tonio.Event:
    event = tonio.Event()
    event.set()
    return event


# --- a level, not an event --------------------------------------------------------------------

WAITS: dict[str, Callable[[], Any]] = {
    "sleep": lambda: tonio.sleep(1000),
    "endless sleep": lambda: tonio.sleep(float("inf")),
    "event": lambda: tonio.Event().wait(),
    "event with a limit": lambda: tonio.Event().wait(1000),
    "join": lambda: tonio.spawn(tonio.sleep(1000)),
    "timeout": lambda: tonio.time.timeout(tonio.sleep(1000), 1000),
    "select": lambda: tonio.select(tonio.sleep(1000), tonio.Event().wait()),
    "map": lambda: tonio.map(tonio.sleep, [1000, 1000]),
    "yield": lambda: tonio.yield_now(),
}


@both
@pytest.mark.parametrize("name", WAITS)
async def test_every_wait_raises_again(name: str) -> None:
    caught = 0
    async with tonio.scope() as scope:
        scope.cancel()
        for _ in range(20):
            try:
                if name == "yield":
                    await tonio.yield_now()
                else:
                    await WAITS[name]()
            except CancelledError:
                caught += 1
    assert caught == 20
    await tonio.yield_now()  # it is over


@both
@pytest.mark.parametrize("name", WAITS)
async def test_parked_task_is_cancelled(name: str) -> None:
    log: list[str] = []

    async def nested() -> None:
        try:
            if name == "yield":
                while True:
                    await tonio.yield_now()
            await WAITS[name]()
        except CancelledError:
            log.append(name)
            raise

    begun = monotonic()
    async with tonio.scope() as scope:
        scope.spawn(nested())
        await tonio.sleep(0.002)
        scope.cancel()
    assert log == [name]
    assert monotonic() - begun < 5 * FACTOR


@both
async def test_what_can_finish_at_once_finishes() -> None:
    done = tonio.spawn(give("done"))
    assert await done == "done"
    finished = []
    async with tonio.scope() as scope:
        scope.cancel()
        finished.append(await set_event().wait())
        finished.append(await tonio.Event().wait(0))
        finished.append(await done)
        finished.append(await tonio.map(give, []))
        interval = tonio.time.interval(1000)
        finished.append(await interval.tick())
        await interval.tick()
        finished.append("never reached")
    assert finished == [True, False, "done", [], None]
    assert scope.cancelled


@both
async def test_exhausted_budget_raises() -> None:
    """A task whose operations are always ready can be cancelled all the same."""
    event = set_event()
    count = 0

    async def busy() -> None:
        nonlocal count
        while True:
            await event.wait()
            count += 1

    async with tonio.scope() as scope:
        scope.cancel()
        await busy()
    assert count <= 200
    assert scope.cancelled
    before = count

    async with tonio.scope() as scope:
        scope.spawn(busy())
        await tonio.sleep(0.002)
        scope.cancel()
    assert count > before


@both
async def test_running_task_is_cancelled_at_its_next_wait() -> None:
    log: list[str] = []
    async with tonio.scope() as scope:
        scope.cancel()
        log.append("goes on")
        await hang(log, "cancelled")
    assert log == ["goes on", "cancelled"]


@both
async def test_no_wait_no_cancellation() -> None:
    async def straight() -> str:
        scope.cancel()
        return "value"

    async with tonio.scope() as scope:
        join = scope.spawn(straight())
    assert await join == "value"
    async with tonio.scope() as scope:
        scope.cancel()
        value = "body"
    assert value == "body"
    assert not scope.cancelled
    await tonio.yield_now()


@both
async def test_cancelling_the_own_task() -> None:
    log: list[Any] = []
    own: list[Any] = []

    async def task() -> None:
        await started.wait()
        log.append(own[0].cancel())
        log.append("goes on")
        for _ in range(2):
            try:
                await tonio.sleep(1000)
            except CancelledError:
                log.append("cancelled")
        await tonio.yield_now()
        log.append("never reached")

    started = tonio.Event()
    own.append(tonio.spawn(task()))
    started.set()
    with pytest.raises(TaskCancelled):
        await own[0]
    assert log == [True, "goes on", "cancelled", "cancelled"]


@both
async def test_catching_it_and_returning_is_a_normal_end() -> None:
    async def task() -> str:
        try:
            await tonio.sleep(1000)
        except CancelledError:
            return "value"
        return "never"

    join = tonio.spawn(task())
    await tonio.sleep(0.001)
    join.cancel()
    assert await join == "value"


@both
async def test_catching_it_for_ever() -> None:
    """After a thousand times the task is closed, with a warning that names it."""
    counts = {"caught": 0, "finally": 0}

    async def stubborn() -> None:
        try:
            while True:
                try:
                    await tonio.sleep(1000)
                except CancelledError:
                    counts["caught"] += 1
        finally:
            counts["finally"] += 1

    with pytest.warns(RuntimeWarning, match="stubborn"):  # noqa: PT031
        async with tonio.scope() as scope:
            scope.spawn(stubborn())
            await tonio.sleep(0.001)
            scope.cancel()
    assert counts == {"caught": 1000, "finally": 1}


@both
async def test_catching_it_often_but_not_for_ever() -> None:
    caught = 0
    async with tonio.scope() as scope:
        scope.cancel()
        while caught < 900:
            try:
                await tonio.sleep(1000)
            except CancelledError:
                caught += 1
    assert caught == 900
    async with tonio.scope() as scope:
        scope.cancel()
        for _ in range(900):  # they are counted anew
            with suppress(CancelledError):
                await tonio.sleep(1000)


# --- clean-up ---------------------------------------------------------------------------------


@both
async def test_blocks_are_left_from_the_inside_out() -> None:
    log: list[str] = []

    @contextmanager
    def manager(name: str) -> Any:
        try:
            yield
        finally:
            log.append(name)

    async def level(number: int) -> None:
        with manager(f"with {number}"):
            try:
                if number:
                    await level(number - 1)
                else:
                    await tonio.sleep(1000)
            finally:
                log.append(f"finally {number}")

    async with tonio.scope() as scope:
        scope.spawn(level(3))
        await tonio.sleep(0.001)
        scope.cancel()
    assert log == [f"{kind} {number}" for number in range(4) for kind in ("finally", "with")]


@both
async def test_traceback_of_a_cancellation_shows_where_it_waited() -> None:
    seen: list[list[str]] = []

    async def inner() -> None:
        await tonio.sleep(1000)

    async def outer() -> None:
        try:
            await inner()
        except CancelledError as error:
            seen.append([frame.name for frame in traceback.extract_tb(error.__traceback__)])
            raise

    async with tonio.scope() as scope:
        scope.spawn(outer())
        await tonio.sleep(0.001)
        scope.cancel()
    assert seen == [["outer", "inner"]]


@both
async def test_cancellation_through_both_notations() -> None:
    log: list[str] = []

    @as_written
    async def coroutine() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            log.append("coroutine")

    @as_written
    def generator() -> Any:
        try:
            yield coroutine()
        finally:
            log.append("generator")

    @as_written
    def by_yield_from() -> Any:
        try:
            yield from generator()
        finally:
            log.append("yield from")

    async with tonio.scope() as scope:
        scope.spawn(by_yield_from())
        await tonio.sleep(0.001)
        scope.cancel()
    assert log == ["coroutine", "generator", "yield from"]


@both
async def test_task_that_had_not_begun() -> None:
    """It runs to its first wait, or is closed unstarted; nobody hangs, nothing warns."""
    log: list[str] = []

    async def child() -> None:
        log.append("begun")
        await hang(log, "ended")

    async with tonio.scope() as scope:
        for _ in range(100):
            scope.spawn(child())
        scope.cancel()
    assert log.count("begun") == log.count("ended")


@both
async def test_context_variables_during_clean_up() -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    log: list[str] = []

    async def child() -> None:
        variable.set("inside")
        try:
            await tonio.sleep(0)
            await tonio.sleep(1000)
        finally:
            log.append("clean-up")

    async with tonio.scope() as scope:
        scope.spawn(child())
        await tonio.sleep(0.001)
        scope.cancel()
    assert log == ["clean-up"]


# --- shields ----------------------------------------------------------------------------------


@both
async def test_shield_lets_clean_up_wait_in_peace() -> None:
    log: list[str] = []

    async def child() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            async with tonio.scope(shield=True) as shielded:
                await tonio.yield_now()
                await tonio.sleep(0.002)
                log.append("slept")
                assert await shielded.spawn(give("value")) == "value"
                log.append("spawned")
            try:
                await tonio.sleep(1000)
            except CancelledError:
                log.append("again, outside of it")

    async with tonio.scope() as scope:
        scope.spawn(child())
        await tonio.sleep(0.002)
        scope.cancel()
    assert log == ["slept", "spawned", "again, outside of it"]


@both
async def test_shield_holds_off_the_cancellation_of_the_task() -> None:
    log: list[str] = []
    inside = tonio.Event()

    async def task() -> None:
        async with tonio.scope(shield=True):
            inside.set()
            await tonio.sleep(0.01)
            log.append("undisturbed")
        await tonio.sleep(1000)

    join = tonio.spawn(task())
    await inside.wait()
    assert join.cancel() is True
    with pytest.raises(TaskCancelled):
        await join
    assert log == ["undisturbed"]


@both
async def test_children_of_a_shielded_scope_are_behind_its_shield() -> None:
    log: list[str] = []

    async def child() -> None:
        await tonio.sleep(0.005)
        log.append("undisturbed")

    async with tonio.scope() as outer:
        async with tonio.scope(shield=True) as inner:
            inner.spawn(child())
            async with tonio.scope() as innermost:
                innermost.spawn(child())
                outer.cancel()
        log.append("left")
        await tonio.sleep(1000)
    assert log == ["undisturbed", "undisturbed", "left"]
    assert outer.cancelled
    assert not inner.cancelled


@both
async def test_a_shield_holds_nothing_off_from_what_is_outside_of_it() -> None:
    """The task waits behind its shield for a child that is not behind it."""
    log: list[str] = []

    async def parent() -> None:
        async with tonio.scope() as outer:
            async with tonio.scope(shield=True):
                child = outer.spawn(hang(log))
                started.set()
                with suppress(TaskCancelled):
                    await child
                log.append("parent")

    started = tonio.Event()
    task = tonio.spawn(parent())
    await started.wait()
    task.cancel()
    with suppress(
        TaskCancelled
    ):  # if the end of the scope came so soon that the child was still leaving it
        await task
    assert log == ["child", "parent"]


@both
async def test_shielded_scope_is_cancelled_by_its_own_means() -> None:
    log: list[str] = []
    async with tonio.scope(shield=True) as scope:
        scope.spawn(hang(log))
        await tonio.sleep(0.001)
        scope.cancel()
        await hang(log, "body")
    assert sorted(log) == ["body", "child"]
    with pytest.raises(ExceptionGroup):
        async with tonio.scope(shield=True) as scope:
            scope.spawn(fail())
            await tonio.sleep(1000)


async def fail() -> None:
    await tonio.yield_now()
    raise ValueError("child")


@both
async def test_shield_can_be_raised_and_lowered() -> None:
    log: list[str] = []
    async with tonio.scope() as outer:
        async with tonio.scope() as inner:
            assert inner.shield is False
            inner.shield = True
            outer.cancel()
            await tonio.sleep(0.001)
            log.append("shielded")
            inner.shield = False
            await hang(log, "cancelled")
    assert log == ["shielded", "cancelled"]


@both
async def test_lowering_the_shield_from_outside_lets_a_cancellation_in() -> None:
    """It was asked for long ago; the task is parked when the shield goes."""
    log: list[str] = []
    scopes: list[Any] = []

    async def child() -> None:
        async with tonio.scope(shield=True) as shielded:
            scopes.append(shielded)
            shielded.spawn(hang(log, "grandchild"))
            await hang(log, "child")

    begun = monotonic()
    async with tonio.scope() as scope:
        scope.spawn(child())
        await tonio.sleep(0.003)
        scope.cancel()
        with suppress(CancelledError):
            await tonio.sleep(1000)
        assert log == []
        scopes[0].shield = False
    assert sorted(log) == ["child", "grandchild"]
    assert monotonic() - begun < 5 * FACTOR


@both
async def test_timeout_does_not_end_before_what_is_shielded_inside() -> None:
    log: list[str] = []

    async def shielded() -> str:
        async with tonio.scope(shield=True):
            await tonio.sleep(0.01)
            log.append("ended")
        return "value"

    result: Any = await tonio.time.timeout(shielded(), 0.001)
    assert result in ((None, False), ("value", True))
    assert log == ["ended"]


@both
def test_shield_holds_at_the_end_of_the_run(threads: int) -> None:
    log: list[str] = []

    async def child() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            async with tonio.scope(shield=True):
                await tonio.sleep(0.005)
                log.append("cleaned up")

    async def main() -> str:
        tonio.spawn(child())
        await tonio.sleep(0.002)
        return "value"

    assert tonio.run(main(), threads=threads) == "value"
    assert log == ["cleaned up"]


# --- what was cancelled and what was not ------------------------------------------------------


@both
async def test_waiter_that_is_cancelled_leaves_at_once() -> None:
    """The event is not concerned, and other waiters get what they wait for."""
    event = tonio.Event()
    others = tonio.spawn(event.wait(10), event.wait(10))
    joins = [tonio.spawn(event.wait()) for _ in range(100)]
    await tonio.sleep(0.002)
    for join in joins:
        join.cancel()
    for join in joins:
        with pytest.raises(TaskCancelled):
            await join
    event.set()
    assert await others == [True, True]


@both
async def test_completion_and_cancellation_race() -> None:
    """One of the two wins: the value, or the cancellation."""
    outcomes = {"value": 0, "cancelled": 0}
    for _ in range(200):
        event = tonio.Event()
        async with tonio.scope() as scope:
            join = scope.spawn(event.wait())
            await tonio.sleep(0.0001)
            setting = tonio.spawn_blocking(event.set)
            scope.cancel()
        await setting
        try:
            assert await join is True
            outcomes["value"] += 1
        except TaskCancelled:
            outcomes["cancelled"] += 1
    assert sum(outcomes.values()) == 200


@both
async def test_error_caused_by_a_cancellation_keeps_its_cause() -> None:
    async def task() -> None:
        try:
            await tonio.sleep(1000)
        except CancelledError as error:
            raise ValueError("translated") from error

    join = tonio.spawn(task())
    await tonio.sleep(0.001)
    join.cancel()
    with pytest.raises(ExceptionGroup) as caught:
        await join
    (error,) = caught.value.exceptions
    assert isinstance(error.__cause__, CancelledError)


@both
async def test_cancelled_error_that_a_program_raises_itself() -> None:
    """It is not the cancellation of a scope: none was cancelled."""

    async def task() -> None:
        await tonio.yield_now()
        raise CancelledError

    join = tonio.spawn(task())
    with pytest.raises((TaskCancelled, BaseExceptionGroup)):
        await join
    with pytest.raises(CancelledError):
        async with tonio.scope() as scope:
            await tonio.yield_now()
            raise CancelledError
    await scope()


@both
@pytest.mark.parametrize("count", [20_000])
async def test_one_cancel_ends_many_tasks(count: int) -> None:
    ended = []

    async def child() -> None:
        try:
            await tonio.sleep(3600)
        finally:
            ended.append(None)

    async with tonio.scope() as scope:
        for _ in range(count):
            scope.spawn(child())
        await tonio.sleep(0.05)
        scope.cancel()
    assert len(ended) <= count
    assert scope.cancelled
