"""Mistakes: each is a clear exception where it is made, and the runtime works on."""

import gc
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import Unraisables, in_thread
from kinds import FACTOR
from notation import as_written, both

import tonio.colored as tonio
from tonio.exceptions import RuntimeAlreadyInitializedError, RuntimeNotInitializedError


async def give(value: Any) -> Any:
    await tonio.yield_now()
    return value


async def still_works() -> None:
    """The runtime after a mistake."""
    assert await give(1) == 1
    assert await tonio.spawn(give(2), give(3)) == [2, 3]
    assert await tonio.spawn_blocking(lambda: 4) == 4
    assert await tonio.Event().wait(0.0001) is False
    assert await tonio.time.timeout(give(5), 10) == (5, True)


NAN = float("nan")

# --- options ----------------------------------------------------------------------------------

WRONG_OPTIONS = [
    ("threads", 0, ValueError),
    ("threads", -1, ValueError),
    ("threads", 10**30, ValueError),
    ("threads", 1.0, TypeError),
    ("threads", "2", TypeError),
    ("threads", True, TypeError),
    ("blocking_threadpool_size", 0, ValueError),
    ("blocking_threadpool_size", -5, ValueError),
    ("blocking_threadpool_size", 2.5, TypeError),
    ("blocking_threadpool_size", None, TypeError),
    ("blocking_threadpool_idle_ttl", -1, ValueError),
    ("blocking_threadpool_idle_ttl", NAN, ValueError),
    ("blocking_threadpool_idle_ttl", "30", TypeError),
    ("context", 1, TypeError),
    ("context", "yes", TypeError),
    ("thread", 2, TypeError),
]


@both(threads=(1,))
@pytest.mark.parametrize(
    ("name", "value", "error"), WRONG_OPTIONS, ids=[f"{n}={v}" for n, v, _ in WRONG_OPTIONS]
)
def test_wrong_option_is_named(name: str, value: Any, error: type[Exception]) -> None:
    async def main() -> None:
        raise AssertionError("it runs")

    coroutine = main()
    for call in (
        lambda: tonio.run(coroutine, **{name: value}),
        lambda: tonio.runtime(**{name: value}),
        lambda: tonio.main(**{name: value})(main),
    ):
        with pytest.raises(error, match=name):
            call()
    coroutine.close()  # it belongs to the caller still
    tonio.run(still_works(), threads=1)


@both
def test_unusual_options_that_are_right(threads: int) -> None:
    for options in (
        {"blocking_threadpool_idle_ttl": 0},
        {"blocking_threadpool_idle_ttl": float("inf")},
        {"blocking_threadpool_idle_ttl": 0.5, "blocking_threadpool_size": 1},
        {"blocking_threadpool_size": 1000},
        {"context": True},
        {"context": False},
    ):
        tonio.run(still_works(), threads=threads, **options)
    tonio.run(still_works(), threads=None)
    tonio.run(still_works(), threads=16)


# --- what is run ------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    "thing", [42, None, "text", [], object(), iter([]), int, (give,)], ids=repr
)
def test_run_of_what_cannot_run(threads: int, thing: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(type(thing).__name__)):
        tonio.run(thing, threads=threads)
    tonio.run(still_works(), threads=threads)


@both
def test_run_of_a_function_that_was_not_called(threads: int) -> None:
    with pytest.raises(TypeError, match="call"):
        tonio.run(still_works, threads=threads)
    tonio.run(still_works(), threads=threads)


@both
def test_run_of_a_finished_coroutine(threads: int) -> None:
    coroutine = give(1)
    assert tonio.run(coroutine, threads=threads) == 1
    with pytest.raises(RuntimeError):
        tonio.run(coroutine, threads=threads)
    closed = give(1)
    closed.close()
    with pytest.raises(RuntimeError):
        tonio.run(closed, threads=threads)


@both
def test_run_of_a_coroutine_that_runs_elsewhere(threads: int) -> None:
    started, stop = threading.Event(), tonio.Event()

    async def main() -> str:
        started.set()
        await stop.wait()
        return "value"

    coroutine = main()
    results: list[str] = []
    other = threading.Thread(target=lambda: results.append(tonio.run(coroutine, threads=threads)))
    other.start()
    assert started.wait(10)
    with pytest.raises(RuntimeError):
        tonio.run(coroutine, threads=threads)
    stop.set()
    other.join()
    assert results == ["value"]


@both
async def test_run_inside_a_running_runtime(threads: int) -> None:
    runtime = tonio.runtime(threads=threads)

    @tonio.main(threads=threads)
    async def program() -> None:
        raise AssertionError("it runs")

    for call in (
        lambda: tonio.run(give(1), threads=threads),
        lambda: runtime.run_until_complete(give(1)),
        program,
    ):
        with pytest.raises(RuntimeAlreadyInitializedError):
            call()
    await still_works()
    await tonio.spawn(nested_run())


async def nested_run() -> None:
    await tonio.yield_now()
    with pytest.raises(RuntimeAlreadyInitializedError):
        tonio.run(give(1))
    await still_works()


@both
def test_one_runtime_object_in_two_threads_at_once(threads: int) -> None:
    runtime = tonio.runtime(threads=threads)
    running, stop = threading.Event(), tonio.Event()

    async def main() -> None:
        running.set()
        await stop.wait()

    other = threading.Thread(target=lambda: runtime.run_until_complete(main()))
    other.start()
    try:
        assert running.wait(10 * FACTOR)
        with pytest.raises(RuntimeAlreadyInitializedError):
            runtime.run_until_complete(give(1))
    finally:
        stop.set()
        other.join()
    assert runtime.run_until_complete(give(2)) == 2


@both(threads=(1,))
def test_closed_runtime_cannot_run() -> None:
    with tonio.runtime(threads=1) as runtime:
        assert runtime.run_until_complete(give(1)) == 1
    coroutine = give(2)
    with pytest.raises(RuntimeError, match="closed"):
        runtime.run_until_complete(coroutine)
    coroutine.close()


# --- without a runtime ------------------------------------------------------------------------


@both(threads=(1,))
@pytest.mark.parametrize(
    "call",
    [
        lambda: tonio.spawn(give(1)),
        lambda: tonio.spawn(),
        lambda: tonio.spawn.without_results(give(1)),
        lambda: tonio.spawn.without_tracking(give(1)),
        lambda: tonio.map(give, [1]),
        lambda: tonio.spawn_blocking(int),
        lambda: tonio.spawn_blocking.abandon(int),
        lambda: tonio.map_blocking(int, [1]),
        lambda: tonio.current_task(),
        lambda: tonio.runtime_stats(),
    ],
    ids=[
        "spawn", "spawn nothing", "without_results", "without_tracking", "map", "spawn_blocking",
        "abandon", "map_blocking", "current_task", "runtime_stats",
    ],
)  # fmt: skip
def test_what_needs_a_runtime_says_so(call: Callable[[], Any]) -> None:
    for caller in (lambda function: function(), in_thread):
        with pytest.raises(RuntimeNotInitializedError):
            caller(call)


def test_waiting_without_a_runtime() -> None:
    event = tonio.Event()
    event.set()

    @as_written
    async def wait(operation: Any) -> None:
        await operation

    for operation in (event.wait(), tonio.sleep(0), tonio.time.timeout(event.wait(), 1)):
        coroutine = wait(operation)
        with pytest.raises(RuntimeNotInitializedError):
            coroutine.send(None)
        with pytest.raises(RuntimeNotInitializedError):
            next(iter(operation))
        tonio.run(operation, threads=1)  # it was not used up


@both
async def test_there_is_no_current_task_in_a_job_or_a_foreign_thread() -> None:
    with pytest.raises(RuntimeNotInitializedError):
        await tonio.spawn_blocking(tonio.current_task)
    with pytest.raises(RuntimeNotInitializedError):
        in_thread(tonio.current_task)
    await still_works()


def test_spawning_after_the_run() -> None:
    tonio.run(give(1), threads=2)
    with pytest.raises(RuntimeNotInitializedError):
        tonio.spawn(give(1))


# --- what is awaited --------------------------------------------------------------------------


@both
@pytest.mark.parametrize("thing", [42, "text", [], object(), int, NAN, give], ids=repr)
async def test_waiting_for_what_cannot_be_waited_for(thing: Any) -> None:
    with pytest.raises(TypeError):
        await thing
    await still_works()


@both
async def test_awaitable_that_hands_out_nonsense() -> None:
    log = []

    class Odd:
        def __await__(self) -> Any:
            try:
                yield 42
            except TypeError:
                log.append("told at the very point")
                raise

    class NoIterator:
        def __await__(self) -> Any:
            return 42

    with pytest.raises(TypeError):
        await Odd()
    assert log == ["told at the very point"]
    with pytest.raises(TypeError):
        await NoIterator()
    with pytest.raises(TypeError):
        tonio.spawn(NoIterator())
    await still_works()


@both
async def test_bad_value_can_be_caught_and_the_coroutine_goes_on() -> None:
    async def child() -> str:
        for _ in range(3):
            with pytest.raises(TypeError):
                await object()  # type: ignore[misc]
        return await give("goes on")

    assert await tonio.spawn(child()) == "goes on"


@both
async def test_error_of_await_itself() -> None:
    class Failing:
        def __await__(self) -> Any:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await Failing()
    with pytest.raises(LookupError, match="mine"):
        tonio.spawn(Failing())
    await still_works()


# --- used twice -------------------------------------------------------------------------------


@both
async def test_operation_is_awaited_once() -> None:
    event = tonio.Event()
    event.set()
    for operation in (
        event.wait(),
        tonio.sleep(0),
        tonio.sleep(0.0001),
        tonio.time.timeout(give(1), 1),
        tonio.time.interval(0.001).tick(),
    ):
        await operation
        with pytest.raises(RuntimeError):
            await operation
        with pytest.raises(RuntimeError):
            tonio.spawn(operation)
    await still_works()


@both
async def test_operation_cannot_be_awaited_by_two_tasks() -> None:
    event = tonio.Event()
    operation = event.wait()

    async def waiter() -> Any:
        return await operation

    first = tonio.spawn(waiter())
    await tonio.sleep(0.001)
    with pytest.raises(RuntimeError):
        await operation
    second = tonio.spawn(waiter())
    with pytest.raises(ExceptionGroup) as caught:
        await second
    assert isinstance(caught.value.exceptions[0], RuntimeError)
    event.set()
    assert await first is True


@both
async def test_coroutine_is_given_once() -> None:
    coroutine = give(1)
    join = tonio.spawn(coroutine)
    for use in (tonio.spawn, tonio.spawn.without_results, tonio.spawn.without_tracking):
        with pytest.raises(RuntimeError):
            use(coroutine)
    with pytest.raises(RuntimeError):
        tonio.time.timeout(coroutine, 1)
    assert await join == 1
    with pytest.raises(RuntimeError):
        tonio.spawn(coroutine)
    with pytest.raises(RuntimeError):
        await coroutine
    await still_works()


@both
async def test_coroutine_twice_in_one_call() -> None:
    coroutine = give(1)
    with pytest.raises(RuntimeError):
        tonio.spawn(coroutine, coroutine)
    with pytest.raises(RuntimeError):
        tonio.map(lambda _: coroutine, range(2))
    await still_works()


@both
async def test_coroutine_that_is_awaited_again() -> None:
    coroutine = give(1)
    assert await coroutine == 1
    with pytest.raises(RuntimeError):
        await coroutine
    closed = give(1)
    closed.close()
    with pytest.raises(RuntimeError):
        await closed
    await still_works()


@both
async def test_coroutine_that_awaits_itself() -> None:
    own: list[Any] = []

    async def narcissus() -> None:
        await own[0]

    own.append(narcissus())
    with pytest.raises(ExceptionGroup) as caught:
        await tonio.spawn(own[0])
    # with `await` the interpreter finds it, with ValueError
    assert isinstance(caught.value.exceptions[0], RuntimeError | ValueError)
    await still_works()


# --- spawn and its kin ------------------------------------------------------------------------


@both
@pytest.mark.parametrize("thing", [42, None, "text", object(), give, int], ids=repr)
async def test_spawn_of_what_cannot_run(thing: Any) -> None:
    for spawn in (tonio.spawn, tonio.spawn.without_results, tonio.spawn.without_tracking):
        with pytest.raises(TypeError):
            spawn(thing)
    with pytest.raises(TypeError):
        tonio.map(lambda _: thing, [1])
    with pytest.raises(TypeError):
        tonio.time.timeout(thing, 1)
    await still_works()


@both
async def test_spawn_starts_all_or_none() -> None:
    started = []

    async def child() -> None:
        started.append(1)

    with pytest.raises(TypeError):
        tonio.spawn(child(), 42, child())
    with pytest.raises(TypeError):
        tonio.spawn.without_tracking(child(), child(), None)
    await still_works()
    gc.collect()
    assert started == []


@both
async def test_wrong_calls() -> None:
    for call in (
        lambda: tonio.spawn(coro=give),
        lambda: tonio.spawn_blocking(),
        lambda: tonio.spawn_blocking(42),
        lambda: tonio.spawn_blocking(None, 1),
        lambda: tonio.map(),
        lambda: tonio.map(give),
        lambda: tonio.map(give, 42),
        lambda: tonio.map(42, [1]),
        lambda: tonio.map_blocking(42, [1]),
        lambda: tonio.map_blocking(int, 42),
        lambda: tonio.sleep(),
        lambda: tonio.sleep(1, 2),
        lambda: tonio.time.interval(),
        lambda: tonio.time.timeout(),
        lambda: tonio.Event().wait(1, 2),
        lambda: tonio.Event().wait(until=1),
        lambda: tonio.Join(),
        lambda: tonio.current_task(1),
    ):
        with pytest.raises(TypeError):
            call()
    await still_works()


# --- times ------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("wrong", ["1", None, [], b"1", 1j], ids=repr)
async def test_time_of_a_wrong_type_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError, match="delay"):
        tonio.sleep(wrong)
    with pytest.raises(TypeError, match="period"):
        tonio.time.interval(wrong)
    if wrong is not None:
        coroutine = give(1)
        with pytest.raises(TypeError, match="timeout"):
            tonio.time.timeout(coroutine, wrong)
        coroutine.close()
        with pytest.raises(TypeError, match="timeout"):
            tonio.Event().wait(wrong)
        with pytest.raises(TypeError, match="at"):
            tonio.time.interval(1, wrong)
    await still_works()


@both
@pytest.mark.parametrize("wrong", [NAN, -1, -0.001, float("-inf")], ids=repr)
async def test_time_of_a_wrong_value_is_named(wrong: float) -> None:
    coroutine = give(1)
    with pytest.raises(ValueError, match="timeout"):
        tonio.time.timeout(coroutine, wrong)
    coroutine.close()
    with pytest.raises(ValueError, match="timeout"):
        tonio.Event().wait(wrong)
    with pytest.raises(ValueError, match="period"):
        tonio.time.interval(wrong)
    with pytest.raises(ValueError, match="at"):
        tonio.time.interval(1, wrong)
    await still_works()


@both
async def test_sleep_of_no_number_of_seconds() -> None:
    with pytest.raises(ValueError, match="delay"):
        tonio.sleep(NAN)
    await still_works()


@both
@pytest.mark.parametrize("wrong", [0, 0.0, float("inf")], ids=repr)
async def test_interval_that_cannot_tick(wrong: float) -> None:
    with pytest.raises(ValueError, match="period"):
        tonio.time.interval(wrong)


# --- never awaited ----------------------------------------------------------------------------


@both
async def test_operation_that_is_never_awaited_warns() -> None:
    for make, name in (
        (lambda: tonio.sleep(1), "sleep"),
        (lambda: tonio.sleep(0), "sleep"),
        (lambda: tonio.Event().wait(), "wait"),
        (lambda: tonio.time.interval(1).tick(), "tick"),
        (lambda: tonio.time.timeout(give(1), 1), "timeout"),
    ):
        operation = make()
        with pytest.warns(RuntimeWarning, match=f"{name}.*never"):
            del operation
    await still_works()


def test_operation_that_is_never_awaited_warns_without_a_runtime() -> None:
    operation = tonio.sleep(1)
    with pytest.warns(RuntimeWarning, match="never"):
        del operation


@both
def test_warning_that_is_an_error_is_told_and_disturbs_nobody(
    threads: int, unraisables: Unraisables
) -> None:
    async def main() -> int:
        tonio.Event().wait()
        try:
            raise KeyError
        except KeyError:
            tonio.sleep(1)
        await still_works()
        return 5

    assert tonio.run(main(), threads=threads) == 5
    assert [report.type for report in unraisables.take()] == [RuntimeWarning] * 2


@both
async def test_what_acts_at_once_need_not_be_awaited() -> None:
    event = tonio.Event()
    tonio.spawn(event.wait())
    tonio.spawn.without_results(event.wait())
    tonio.map(lambda _: event.wait(), range(3))
    tonio.spawn_blocking(event.is_set)
    tonio.map_blocking(lambda _: None, range(3))
    event.set()
    await still_works()
