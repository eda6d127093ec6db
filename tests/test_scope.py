"""`scope`: what was started in it has ended when it ends, and its errors come out of it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import in_thread
from notation import both

import tonio.colored as tonio
from tonio.exceptions import CancelledError, RuntimeNotInitializedError, TaskCancelled


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


# --- the children -----------------------------------------------------------------------------


@both
async def test_scope_ends_after_its_children() -> None:
    log: list[str] = []

    async def child(name: str, delay: float) -> None:
        await tonio.sleep(delay)
        log.append(name)

    async with tonio.scope() as scope:
        scope.spawn(child("late", 0.01))
        scope.spawn(child("early", 0.001))
        log.append("body")
    log.append("after")
    assert log[-1] == "after"
    assert sorted(log) == ["after", "body", "early", "late"]
    assert scope.cancelled is False
    assert scope.cancel_called is False


@both
async def test_scope_without_children() -> None:
    async with tonio.scope() as scope:
        pass
    async with tonio.scope() as second:
        await tonio.yield_now()
    assert scope is not second
    assert "scope" in repr(scope).lower()


@both
async def test_children_run_at_the_same_time_as_the_body() -> None:
    there, back = tonio.Event(), tonio.Event()

    async def child() -> None:
        await there.wait()
        back.set()

    async with tonio.scope() as scope:
        scope.spawn(child())
        there.set()
        assert await back.wait(10)


@both
async def test_join_of_a_child_gives_its_value() -> None:
    async with tonio.scope() as scope:
        join = scope.spawn(give(5))
        assert isinstance(join, tonio.Join)
        assert await join == 5
        late = scope.spawn(give(6))
    assert join.done()
    assert late.done()
    assert await join == 5
    assert await late == 6


@both
async def test_all_that_can_be_awaited_can_be_spawned() -> None:
    event = tonio.Event()
    async with tonio.scope() as scope:
        waiting = scope.spawn(event.wait())
        sleeping = scope.spawn(tonio.sleep(0))
        timed = scope.spawn(tonio.time.timeout(give(1), 10))
        event.set()
    assert await waiting is True
    assert await sleeping is None
    assert await timed == (1, True)


@both
async def test_many_children() -> None:
    async with tonio.scope() as scope:
        joins = [scope.spawn(give(number)) for number in range(2000)]
    for number, join in enumerate(joins):
        assert await join == number


@both
async def test_children_spawn_into_the_scope() -> None:
    log: list[int] = []

    async def child(level: int) -> None:
        await tonio.yield_now()
        log.append(level)
        if level:
            scope.spawn(child(level - 1))
            scope.spawn(child(level - 1))

    async with tonio.scope() as scope:
        scope.spawn(child(7))
    assert sorted(log) == sorted(level for level in range(8) for _ in range(2 ** (7 - level)))


@both
async def test_running_child_may_spawn_although_the_block_has_ended() -> None:
    gate, log = tonio.Event(), []

    async def grandchild() -> None:
        await tonio.sleep(0.001)
        log.append("grandchild")

    async def child() -> None:
        await gate.wait()
        scope.spawn(grandchild())
        log.append("child")

    async def open_later() -> None:
        await tonio.sleep(0.005)
        gate.set()

    tonio.spawn(open_later())
    async with tonio.scope() as scope:
        scope.spawn(child())
    assert log == ["child", "grandchild"]


@both
async def test_foreign_thread_spawns_into_an_open_scope() -> None:
    async with tonio.scope() as scope:
        joins = [in_thread(lambda n=n: scope.spawn(give(n))) for n in range(10)]
        joins.append(await tonio.spawn_blocking(lambda: scope.spawn(give(10))))
    for number, join in enumerate(joins):
        assert await join == number


@both
async def test_other_tasks_spawn_into_an_open_scope() -> None:
    opened, log = tonio.Event(), []

    async def child(number: int) -> None:
        await tonio.sleep(0.001)
        log.append(number)

    async def spawner(number: int) -> None:
        await opened.wait()
        scope.spawn(child(number))

    join = tonio.map(spawner, range(100))
    async with tonio.scope() as scope:
        opened.set()
        await join
    assert sorted(log) == list(range(100))


@both
async def test_spawn_of_the_runtime_does_not_belong_to_the_scope() -> None:
    gate = tonio.Event()
    async with tonio.scope() as scope:
        join = tonio.spawn(gate.wait(10))
        scope.cancel()
    assert not join.done()
    gate.set()
    assert await join is True


@both
async def test_plain_with_and_waiting_for_the_scope() -> None:
    log: list[str] = []

    async def child() -> None:
        await tonio.sleep(0.002)
        log.append("child")

    with tonio.scope() as scope:
        scope.spawn(child())
    log.append("left")
    assert await scope() is None
    log.append("ended")
    assert log == ["left", "child", "ended"]
    for _ in range(3):
        assert await scope() is None


@both
async def test_nested_scopes_end_from_the_inside_out() -> None:
    log: list[str] = []

    async def child(name: str, delay: float) -> None:
        await tonio.sleep(delay)
        log.append(name)

    async with tonio.scope() as outer:
        outer.spawn(child("outer", 0.02))
        async with tonio.scope() as inner:
            inner.spawn(child("inner", 0.002))
        log.append("inner has ended")
    log.append("outer has ended")
    assert log == ["inner", "inner has ended", "outer", "outer has ended"]


@both
async def test_scopes_nest_deeply() -> None:
    """In one task, and from task to task."""
    log: list[str] = []

    async def in_one_task(level: int) -> None:
        async with tonio.scope() as scope:
            scope.spawn(hang(log))
            if level:
                await in_one_task(level - 1)
            else:
                await tonio.sleep(1000)

    async def in_tasks(level: int) -> None:
        async with tonio.scope() as scope:
            scope.spawn(hang(log))
            if level:
                scope.spawn(in_tasks(level - 1))
            else:
                reached.set()

    for nest in (in_one_task, in_tasks):
        log.clear()
        reached = tonio.Event()
        async with tonio.scope() as outermost:
            outermost.spawn(nest(100))
            await reached.wait(0.05)
            outermost.cancel()
        assert log == ["child"] * 101


# --- cancelling -------------------------------------------------------------------------------


@both
async def test_cancel_ends_the_children_and_the_body() -> None:
    log: list[str] = []
    async with tonio.scope() as scope:
        for number in range(10):
            scope.spawn(hang(log, f"child {number}"))
        await tonio.sleep(0.005)
        assert scope.cancel() is True
        assert scope.cancel_called is True
        await hang(log, "body")
        log.append("never reached")
    assert sorted(log) == ["body", *(f"child {number}" for number in range(10))]
    assert scope.cancelled is True


@both
async def test_cancel_tells_whether_it_was_the_one() -> None:
    async with tonio.scope() as scope:
        assert scope.cancel_called is False
        assert scope.cancel() is True
        assert scope.cancel() is False
        assert scope.cancel_called is True
    assert scope.cancel() is False
    assert scope.cancel_called is True
    async with tonio.scope() as ended:
        pass
    assert ended.cancel() is False
    assert ended.cancel_called is False
    assert ended.cancelled is False


@both
async def test_cancel_that_had_nothing_to_end() -> None:
    """It was called, but it took no effect: nobody waited any more."""
    async with tonio.scope() as scope:
        join = scope.spawn(give(1))
        assert await join == 1
        scope.cancel()
    assert scope.cancel_called is True
    assert scope.cancelled is False


@both
async def test_of_many_cancels_at_once_one_is_the_one() -> None:
    for _ in range(20):
        meeting = threading.Barrier(4)
        results = []

        def cancel(meeting: Any = meeting, results: Any = results) -> None:
            meeting.wait(10)
            results.append(scope.cancel())

        log: list[str] = []
        async with tonio.scope() as scope:
            scope.spawn(hang(log))
            await tonio.sleep(0.0005)
            threads = [threading.Thread(target=cancel) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(results) == [False, False, False, True]


@both
async def test_cancel_from_a_foreign_thread_from_a_child_and_from_a_job() -> None:
    async def child(scope: Any) -> None:
        scope.cancel()

    def from_thread(scope: Any) -> None:
        threading.Timer(0.002, scope.cancel).start()

    def from_child(scope: Any) -> None:
        scope.spawn(child(scope))

    def from_job(scope: Any) -> None:
        tonio.spawn_blocking(scope.cancel)

    def from_task(scope: Any) -> None:
        tonio.spawn(child(scope))

    for how in (from_thread, from_child, from_job, from_task):
        log: list[str] = []
        async with tonio.scope() as scope:
            how(scope)
            await hang(log, "body")
        assert log == ["body"]
        assert scope.cancelled


@both
async def test_cancelling_a_scope_leaves_others_alone() -> None:
    log: list[str] = []
    async with tonio.scope() as outer:
        beside = outer.spawn(give_late("beside"))
        async with tonio.scope() as inner:
            inner.spawn(hang(log, "inner"))
            await tonio.sleep(0.001)
            inner.cancel()
        assert inner.cancel_called
        assert not outer.cancel_called
        await tonio.sleep(0.001)
    assert await beside == "beside"
    assert not outer.cancelled


async def give_late(value: Any) -> Any:
    await tonio.sleep(0.005)
    return value


@both
async def test_cancelling_the_outer_scope_ends_all_inside() -> None:
    log: list[str] = []

    async def child() -> None:
        async with tonio.scope() as own:
            own.spawn(hang(log, "grandchild"))
            await hang(log, "child")
        log.append("not reached: the cancellation is not of this scope")

    async with tonio.scope() as outer:
        outer.spawn(child())
        async with tonio.scope() as inner:
            inner.spawn(hang(log, "inner child"))
            await tonio.sleep(0.005)
            outer.cancel()
            await hang(log, "body")
        log.append("not reached either")
    assert sorted(log) == ["body", "child", "grandchild", "inner child"]
    assert outer.cancelled
    assert not inner.cancelled


@both
async def test_cancelling_one_child() -> None:
    """That is no error of the scope, and nobody else is concerned."""
    log: list[str] = []
    async with tonio.scope() as scope:
        join = scope.spawn(hang(log))
        other = scope.spawn(give_late("other"))
        await tonio.sleep(0.001)
        assert join.cancel() is True
        with pytest.raises(TaskCancelled):
            await join
    assert log == ["child"]
    assert await other == "other"
    assert not scope.cancel_called
    assert not scope.cancelled
    with pytest.raises(TaskCancelled):
        await join


@both
async def test_join_of_a_child_that_the_scope_cancelled() -> None:
    log: list[str] = []
    async with tonio.scope() as scope:
        join = scope.spawn(hang(log))
        await tonio.sleep(0.001)
        scope.cancel()
    with pytest.raises(TaskCancelled):
        await join


@both
async def test_spawning_into_a_cancelled_scope() -> None:
    """The child runs to its first wait and is cancelled there."""
    log: list[str] = []

    async def child() -> None:
        log.append("begun")
        await hang(log, "cancelled")

    async def quick() -> str:
        log.append("quick")
        return "value"

    async with tonio.scope() as scope:
        scope.cancel()
        join = scope.spawn(child())
        finished = scope.spawn(quick())
    assert sorted(log) == ["begun", "cancelled", "quick"]
    assert await finished == "value"
    with pytest.raises(TaskCancelled):
        await join


@both
async def test_cancelling_from_a_finally_block() -> None:
    log: list[str] = []
    async with tonio.scope() as scope:
        scope.spawn(hang(log))
        try:
            await tonio.sleep(0.001)
        finally:
            scope.cancel()
    assert log == ["child"]

    async with tonio.scope() as outer:
        outer.spawn(hang(log, "sibling"))
        async with tonio.scope() as inner:
            await tonio.sleep(0.001)
            try:
                inner.cancel()
                await tonio.sleep(1000)
            finally:
                outer.cancel()  # while the cancellation of the inner one is on its way
        await tonio.sleep(1000)
        log.append("never reached")
    assert log == ["child", "sibling"]
    assert outer.cancelled


# --- outside ----------------------------------------------------------------------------------


def test_scope_can_be_made_but_not_entered_without_a_runtime() -> None:
    scope = tonio.scope()
    with pytest.raises(RuntimeNotInitializedError):
        scope.__enter__()
    assert scope.cancel_called is False


@both
async def test_scope_belongs_to_a_task() -> None:
    async with tonio.scope() as scope:
        foreign = tonio.scope()
        enter: Callable[[], Any] = foreign.__enter__
        with pytest.raises(RuntimeError):
            in_thread(enter)
        with pytest.raises(RuntimeError):
            await tonio.spawn_blocking(enter)
    assert scope.cancel_called is False
