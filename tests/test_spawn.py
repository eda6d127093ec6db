"""Tasks: `spawn` and its variants, joins, `map`, `current_task`."""

import gc
import threading
from typing import Any, Never

import pytest
from helpers import Unraisables, functions_in, is_let_go
from notation import both

import tonio.colored as tonio
from tonio.exceptions import CancelledError, TaskCancelled


async def give(value: Any) -> Any:
    await tonio.yield_now()
    return value


async def fail(error: BaseException) -> Never:
    await tonio.yield_now()
    raise error


async def wait_for_ever() -> Never:
    await tonio.Event().wait()
    raise AssertionError("nobody sets it")


# --- results ----------------------------------------------------------------------------------


@both
async def test_results_come_in_the_order_of_the_coroutines() -> None:
    first, second = tonio.Event(), tonio.Event()

    async def early() -> str:
        await second.wait()
        first.set()
        return "early"

    async def late() -> str:
        second.set()
        await first.wait()
        return "late"

    assert await tonio.spawn(early(), late(), give(3)) == ["early", "late", 3]


@both
async def test_no_coroutine_gives_an_empty_list() -> None:
    assert await tonio.spawn() == []
    join = tonio.spawn()
    assert join.done()
    assert await join == []


@both
async def test_one_coroutine_gives_its_value() -> None:
    assert await tonio.spawn(give("value")) == "value"
    assert await tonio.spawn(give([1, 2])) == [1, 2]
    assert await tonio.spawn(give(None)) is None


@both
async def test_all_that_can_be_awaited_can_be_spawned() -> None:
    class Awaitable:
        def __await__(self) -> Any:
            return give("awaited").__await__()

    class Generating:
        def __await__(self) -> Any:
            yield from tonio.sleep(0)
            return "generated"

    async def coroutine() -> str:
        return "coroutine"

    event = tonio.Event()
    event.set()
    things = (tonio.sleep(0.001), event.wait(), Generating(), tonio.time.timeout(give(1), 10))
    assert await tonio.spawn(*things) == [None, True, "generated", (1, True)]
    assert await tonio.spawn(coroutine(), give(2)) == ["coroutine", 2]
    inner = tonio.spawn(give(3))
    assert await tonio.spawn(inner) == 3


@both
async def test_spawned_task_runs_without_being_awaited() -> None:
    event = tonio.Event()

    async def child() -> None:
        event.set()

    join = tonio.spawn(child())
    assert await event.wait(10)
    await join


@both
async def test_many_tasks() -> None:
    assert await tonio.spawn(*[give(number) for number in range(10_000)]) == list(range(10_000))


@both
async def test_tasks_that_spawn_tasks() -> None:
    async def tree(depth: int) -> int:
        if depth == 0:
            return 1
        left, right = await tonio.spawn(tree(depth - 1), tree(depth - 1))
        return left + right

    assert await tree(9) == 2**9


@both
async def test_chain_of_tasks_that_wait_for_each_other() -> None:
    async def link(number: int) -> int:
        return 0 if number == 0 else 1 + await tonio.spawn(link(number - 1))

    assert await link(1000) == 1000


@both
async def test_results_hold_nothing_but_themselves() -> None:
    class Big:
        pass

    import weakref

    async def child() -> Big:
        await tonio.yield_now()
        return Big()

    join = tonio.spawn(child())
    seen = weakref.ref(await join)
    assert seen() is not None
    del join
    assert await is_let_go(seen)


# --- variants ---------------------------------------------------------------------------------


@both
async def test_without_results_gives_none_after_all_have_ended() -> None:
    ended = []

    async def child(number: int) -> int:
        await tonio.sleep(0.001)
        ended.append(number)
        return number

    assert await tonio.spawn.without_results(child(1), child(2)) is None
    assert sorted(ended) == [1, 2]
    assert await tonio.spawn.without_results(child(3)) is None
    assert await tonio.spawn.without_results() is None


@both
async def test_without_results_starts_at_once() -> None:
    event = tonio.Event()

    async def child() -> None:
        event.set()

    operation = tonio.spawn.without_results(child())
    assert await event.wait(10)
    assert await operation is None


@both
async def test_without_results_raises_the_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await tonio.spawn.without_results(fail(KeyError(1)), give(2), fail(KeyError(3)))
    assert [error.args for error in caught.value.exceptions] == [(1,), (3,)]


@both
async def test_without_tracking_is_detached() -> None:
    event = tonio.Event()

    async def child() -> str:
        event.set()
        return "dropped"

    assert tonio.spawn.without_tracking(child(), give(1)) is None
    assert tonio.spawn.without_tracking() is None
    assert await event.wait(10)


@both
def test_error_of_a_detached_task_is_reported(threads: int, unraisables: Unraisables) -> None:
    async def main() -> None:
        ended = tonio.Event()

        async def broken() -> None:
            try:
                await fail(KeyError("detached"))
            finally:
                ended.set()

        tonio.spawn.without_tracking(broken())
        await ended.wait()

    tonio.run(main(), threads=threads)
    (report,) = unraisables.take()
    assert report.type is KeyError
    assert report.functions == ("broken", "fail")


# --- failures ---------------------------------------------------------------------------------


@both
async def test_failed_task_reaches_its_join() -> None:
    error = ValueError("mine")
    with pytest.raises(ExceptionGroup) as caught:
        await tonio.spawn(fail(error))
    assert caught.value.exceptions == (error,)
    assert caught.value.exceptions[0] is error


@both
async def test_failures_are_raised_after_all_have_ended() -> None:
    failed, ended = tonio.Event(), tonio.Event()

    async def first() -> None:
        failed.set()
        raise ValueError("first")

    async def second() -> None:
        await failed.wait()
        await tonio.sleep(0.005)
        ended.set()
        raise TypeError("second")

    with pytest.raises(ExceptionGroup) as caught:
        await tonio.spawn(second(), give("fine"), first())
    assert ended.is_set()
    assert [type(error) for error in caught.value.exceptions] == [TypeError, ValueError]


@both
async def test_traceback_is_intact_through_nested_coroutines() -> None:
    async def inner() -> None:
        await tonio.sleep(0.001)
        raise ValueError("deep")

    async def middle() -> None:
        await inner()

    async def outer() -> None:
        await tonio.yield_now()
        await middle()

    with pytest.raises(ExceptionGroup) as caught:
        await tonio.spawn(outer())
    assert functions_in(caught.value.exceptions[0]) == ["outer", "middle", "inner"]


@both
async def test_error_can_be_caught_and_the_traceback_goes_on() -> None:
    async def inner() -> None:
        await tonio.yield_now()
        raise ValueError("inner")

    async def outer() -> None:
        try:
            await inner()
        except ValueError as error:
            await tonio.yield_now()
            raise KeyError("outer") from error

    with pytest.raises(ExceptionGroup) as caught:
        await tonio.spawn(outer())
    (error,) = caught.value.exceptions
    assert functions_in(error) == ["outer"]
    assert error.__cause__ is not None
    assert functions_in(error.__cause__) == ["outer", "inner"]


@both
async def test_groups_nest_with_the_tasks() -> None:
    async def middle() -> None:
        await tonio.spawn(fail(KeyError(1)), fail(KeyError(2)))

    with pytest.raises(ExceptionGroup) as caught:
        await tonio.spawn(middle(), fail(KeyError(3)))
    inner, last = caught.value.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert [error.args for error in inner.exceptions] == [(1,), (2,)]
    assert last.args == (3,)


@both
async def test_exceptions_that_are_no_exception_are_grouped_too() -> None:
    class Odd(BaseException):
        pass

    with pytest.raises(BaseExceptionGroup) as caught:
        await tonio.spawn(fail(Odd()), give(1))
    assert not isinstance(caught.value, ExceptionGroup)
    assert [type(error) for error in caught.value.exceptions] == [Odd]


@both
async def test_stop_iteration_is_not_mistaken_for_the_end() -> None:
    async def stop() -> None:
        await tonio.yield_now()
        raise StopIteration("value")

    with pytest.raises(ExceptionGroup) as caught:
        await tonio.spawn(stop())
    assert isinstance(caught.value.exceptions[0], RuntimeError)


@both
async def test_many_failures() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await tonio.map(lambda number: fail(KeyError(number)), range(1000))
    assert [error.args[0] for error in caught.value.exceptions] == list(range(1000))


# --- joins ------------------------------------------------------------------------------------


@both
async def test_join_can_be_awaited_by_many_and_again() -> None:
    event = tonio.Event()

    async def child() -> list[int]:
        await event.wait()
        return [1, 2, 3]

    async def waiter(join: Any) -> Any:
        return await join

    join = tonio.spawn(child())
    waiters = tonio.spawn(*[waiter(join) for _ in range(100)])
    await tonio.sleep(0.001)
    event.set()
    results = await waiters
    assert len(results) == 100
    assert all(result is results[0] for result in results)
    assert await join is results[0]
    assert await join == [1, 2, 3]


@both
async def test_error_of_a_join_is_raised_for_each_waiter_and_again() -> None:
    async def waiter(join: Any) -> str:
        with pytest.raises(ExceptionGroup) as caught:
            await join
        return str(caught.value.exceptions[0])

    join = tonio.spawn(fail(ValueError("mine")))
    assert await tonio.map(waiter, [join] * 10) == ["mine"] * 10
    assert await waiter(join) == "mine"


@both
async def test_join_tells_whether_it_is_done() -> None:
    event = tonio.Event()
    join = tonio.spawn(event.wait(), give(1))
    assert isinstance(join, tonio.Join)
    await tonio.sleep(0.001)
    assert join.done() is False
    event.set()
    await join
    assert join.done() is True
    failed = tonio.spawn(fail(KeyError()))
    with pytest.raises(ExceptionGroup):
        await failed
    assert failed.done() is True


@both
async def test_join_has_a_name() -> None:
    join = tonio.spawn(give(1))
    assert "give" in join.name
    assert "give" in repr(join)
    await join


@both
async def test_waiter_that_gives_up_leaves_the_task_alone() -> None:
    event = tonio.Event()

    async def child() -> str:
        await event.wait()
        return "value"

    async def waiter(join: Any) -> Any:
        return await join

    join = tonio.spawn(child())
    assert await tonio.time.timeout(waiter(join), 0.002) == (None, False)
    assert await tonio.time.timeout(join, 0.002) == (None, False)
    assert not join.done()
    event.set()
    assert await join == "value"


@both
async def test_cancelled_task_cleans_up_and_its_join_says_so() -> None:
    log = []
    begun = tonio.Event()

    async def inner() -> None:
        begun.set()
        try:
            await wait_for_ever()
        except CancelledError:
            log.append("cancelled")
            raise
        finally:
            log.append("inner")

    async def outer() -> None:
        try:
            await inner()
        finally:
            log.append("outer")

    join = tonio.spawn(outer())
    await begun.wait()
    assert join.cancel() is True
    with pytest.raises(TaskCancelled):
        await join
    assert log == ["cancelled", "inner", "outer"]
    assert join.done()
    with pytest.raises(TaskCancelled):
        await join


@both
async def test_cancelling_a_task_before_it_has_begun() -> None:
    log = []

    async def child() -> None:
        log.append("begun")
        try:
            await tonio.sleep(1000)
        finally:
            log.append("ended")

    join = tonio.spawn(child())
    join.cancel()
    with pytest.raises(TaskCancelled):
        await join
    assert log in ([], ["begun", "ended"])


@both
async def test_cancelling_what_has_ended_changes_nothing() -> None:
    join = tonio.spawn(give("value"))
    assert await join == "value"
    assert join.cancel() is False
    assert await join == "value"


@both
async def test_cancel_reaches_every_task_of_the_join() -> None:
    cancelled: list[int] = []

    async def child(number: int) -> None:
        try:
            await tonio.sleep(1000)
        except CancelledError:
            cancelled.append(number)
            raise

    join = tonio.map(child, range(100))
    await tonio.sleep(0.005)
    join.cancel()
    with pytest.raises(TaskCancelled):
        await join
    assert len(cancelled) == len(set(cancelled))
    assert set(cancelled) <= set(range(100))


@both
async def test_cancel_from_a_foreign_thread() -> None:
    begun = tonio.Event()

    async def child() -> None:
        begun.set()
        await tonio.sleep(1000)

    join = tonio.spawn(child())
    await begun.wait()
    thread = threading.Thread(target=join.cancel)
    thread.start()
    with pytest.raises(TaskCancelled):
        await join
    thread.join()


@both
async def test_error_in_the_clean_up_of_a_cancelled_task_reaches_its_join() -> None:
    begun = tonio.Event()

    async def child() -> None:
        begun.set()
        try:
            await tonio.sleep(1000)
        finally:
            raise OSError("in clean-up")

    join = tonio.spawn(child())
    await begun.wait()
    join.cancel()
    with pytest.raises(ExceptionGroup) as caught:
        await join
    (error,) = caught.value.exceptions
    assert isinstance(error, OSError)
    assert isinstance(error.__context__, CancelledError)


@both
async def test_finished_join_wakes_no_one_twice() -> None:
    """A join that is awaited at the moment at which its task ends, often."""

    async def child(event: tonio.Event) -> int:
        await event.wait()
        return 1

    async def waiter(join: Any) -> int:
        value: int = await join
        return value

    for _ in range(200):
        event = tonio.Event()
        join = tonio.spawn(child(event))
        waiters = tonio.spawn(waiter(join), waiter(join))
        event.set()
        assert await join == 1
        assert await waiters == [1, 1]


# --- errors nobody retrieves ------------------------------------------------------------------


@both
def test_error_of_a_dropped_join_is_reported(threads: int, unraisables: Unraisables) -> None:
    async def main() -> None:
        ended = tonio.Event()

        async def broken() -> None:
            try:
                await fail(KeyError("dropped"))
            finally:
                ended.set()

        tonio.spawn(broken())
        await ended.wait()

    tonio.run(main(), threads=threads)
    (report,) = unraisables.take()
    assert report.type in {KeyError, ExceptionGroup}
    assert "dropped" in report.message + "".join(report.members)


@both
def test_error_of_a_join_that_outlives_the_run_is_reported_when_it_goes(
    threads: int, unraisables: Unraisables
) -> None:
    async def main() -> Any:
        join = tonio.spawn(fail(KeyError("kept")))
        while not join.done():
            await tonio.yield_now()
        return join

    join = tonio.run(main(), threads=threads)
    assert unraisables.take() == []
    del join
    assert len(unraisables.take()) == 1


@both
def test_error_of_a_join_in_a_reference_cycle_is_reported(
    threads: int, unraisables: Unraisables
) -> None:
    """The collector takes such a join apart together with its error, in any order."""
    # Of different sizes, so that some lie before the join in memory and some behind it.
    kinds = [type("Sized", (Exception,), {"__slots__": tuple("abcdefghijklmnopqrstuvwxyz"[:n])})
             for n in range(26)]  # fmt: skip

    async def main() -> None:
        def start(kind: type[Exception]) -> Any:
            box = []

            async def child() -> None:
                await tonio.yield_now()
                raise kind(len(box))

            box.append(tonio.spawn(child()))
            return box[0]

        joins = [start(kind) for kind in kinds]
        while not all(join.done() for join in joins):
            await tonio.yield_now()

    tonio.run(main(), threads=threads)
    gc.collect()
    reports = unraisables.take()
    assert {report.type for report in reports} == set(kinds)
    assert {report.functions for report in reports} == {("child",)}


@both
def test_retrieved_error_is_not_reported(threads: int, unraisables: Unraisables) -> None:
    async def main() -> None:
        join = tonio.spawn(fail(KeyError("retrieved")), fail(KeyError("too")))
        with pytest.raises(ExceptionGroup):
            await join

    tonio.run(main(), threads=threads)
    assert unraisables.take() == []


@both
def test_dropped_join_of_a_cancelled_task_is_silent(threads: int, unraisables: Unraisables) -> None:
    async def main() -> None:
        join = tonio.spawn(wait_for_ever())
        await tonio.yield_now()
        join.cancel()
        while not join.done():
            await tonio.yield_now()

    tonio.run(main(), threads=threads)
    assert unraisables.take() == []


# --- map --------------------------------------------------------------------------------------


@both
async def test_map_always_gives_a_list_in_order() -> None:
    assert await tonio.map(give, range(100)) == list(range(100))
    assert await tonio.map(give, ["only"]) == ["only"]
    assert await tonio.map(give, []) == []
    assert await tonio.map(give, (number * 2 for number in range(3))) == [0, 2, 4]


@both
async def test_map_starts_at_once() -> None:
    event = tonio.Event()

    async def child(_: int) -> None:
        event.set()

    join = tonio.map(child, [1])
    assert await event.wait(10)
    assert await join == [None]


@both
async def test_map_raises_the_group() -> None:
    async def odd(number: int) -> int:
        await tonio.yield_now()
        if number % 2:
            raise ValueError(number)
        return number

    with pytest.raises(ExceptionGroup) as caught:
        await tonio.map(odd, range(6))
    assert [error.args for error in caught.value.exceptions] == [(1,), (3,), (5,)]


@both
async def test_cancelled_waiter_of_map_ends_its_tasks() -> None:
    """`map` owns what it starts."""
    begun, ended = [], []

    async def child(number: int) -> None:
        begun.append(number)
        try:
            await tonio.sleep(1000)
        finally:
            ended.append(number)

    assert await tonio.time.timeout(tonio.map(child, range(5)), 0.005) == (None, False)
    assert sorted(ended) == sorted(begun)


@both
async def test_error_of_the_iterable_or_the_function_comes_at_once() -> None:
    async def never(_: int) -> None:
        raise AssertionError("started")

    def numbers() -> Any:
        yield 1
        raise OSError("iterable")

    def make(number: int) -> Any:
        if number == 2:
            raise LookupError("function")
        return never(number)

    with pytest.raises(OSError, match="iterable"):
        tonio.map(never, numbers())
    with pytest.raises(LookupError, match="function"):
        tonio.map(make, range(5))
    await tonio.sleep(0.001)


# --- current_task -----------------------------------------------------------------------------


@both
async def test_current_task_is_the_same_in_nested_coroutines() -> None:
    async def nested() -> Any:
        await tonio.yield_now()
        return tonio.current_task()

    task = tonio.current_task()
    assert await nested() is task
    assert tonio.current_task() is task
    assert await tonio.spawn(nested()) is not task


@both
async def test_tasks_are_told_apart() -> None:
    async def child() -> Any:
        task = tonio.current_task()
        await tonio.sleep(0.001)
        assert tonio.current_task() is task
        return task

    tasks = await tonio.spawn(*[child() for _ in range(100)])
    assert len(set(tasks)) == 100
    assert all("child" in task.name for task in tasks)
    assert "child" in repr(tasks[0])
    assert all(task.done() for task in tasks)
    assert not tonio.current_task().done()
