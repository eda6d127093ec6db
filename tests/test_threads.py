"""Work on several threads: it spreads, it is not held up, and any thread may take part."""

import sys
import sysconfig
import threading
from collections import Counter
from contextlib import suppress
from time import monotonic, process_time, sleep, thread_time
from typing import Any

import pytest
from helpers import in_thread
from notation import both

import tonio.colored as tonio
from tonio.colored.net import socket
from tonio.exceptions import RuntimeNotInitializedError

needs_parallelism = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED") or sys._is_gil_enabled(),
    reason="needs threads that run at the same time",
)


def burn(seconds: float) -> int:
    """Keeps a thread busy for so much of its own CPU time; which thread it was."""
    end = thread_time() + seconds
    while thread_time() < end:
        pass
    return threading.get_ident()


# --- spreading --------------------------------------------------------------------------------


@needs_parallelism
@both(threads=(2, 4))
async def test_work_spreads_over_all_threads(threads: int) -> None:
    async def work() -> int:
        await tonio.yield_now()
        return burn(0.002)

    idents = Counter(await tonio.spawn(*[work() for _ in range(60)]))
    assert len(idents) == threads
    stats = tonio.runtime_stats()
    assert len(stats) == threads
    assert all(worker["executed"] > 0 for worker in stats)
    assert sum(worker["stolen"] for worker in stats) > 0


@needs_parallelism
@both(threads=(2,))
async def test_two_threads_really_run_at_the_same_time() -> None:
    """Two tasks that can only go on together, without a suspension in between."""
    meeting = threading.Barrier(2)

    async def meet() -> int:
        return meeting.wait(10)

    assert sorted(await tonio.spawn(meet(), meet())) == [0, 1]


@needs_parallelism
@both(threads=(4,))
async def test_four_threads_really_run_at_the_same_time() -> None:
    meeting = threading.Barrier(4)

    async def meet() -> int:
        return meeting.wait(10)

    assert sorted(await tonio.spawn(*[meet() for _ in range(4)])) == [0, 1, 2, 3]


@both
async def test_tasks_migrate_without_losing_anything() -> None:
    async def work(number: int) -> list[int]:
        values = []
        for step in range(20):
            values.append(number + step)
            await tonio.yield_now()
            if step % 5 == 0:
                burn(0.00005)
        return values

    for number, values in enumerate(await tonio.map(work, range(200))):
        assert values == list(range(number, number + 20))


@both
async def test_shared_counter_under_a_lock_is_exact() -> None:
    lock = threading.Lock()
    count = 0

    async def work() -> None:
        nonlocal count
        for _ in range(100):
            with lock:
                count += 1
            await tonio.yield_now()

    await tonio.spawn(*[work() for _ in range(100)])
    assert count == 10_000


# --- a task that computes ---------------------------------------------------------------------


@needs_parallelism
@both(threads=(2, 4))
async def test_hog_does_not_delay_others_while_a_worker_is_free() -> None:
    """It computes until the others have ended."""
    started = tonio.Event()
    ended = threading.Event()

    async def hog() -> bool:
        started.set()
        limit = monotonic() + 10
        while not ended.is_set() and monotonic() < limit:
            pass
        return ended.is_set()

    async def other() -> float:
        begun = monotonic()
        for _ in range(10):
            await tonio.yield_now()
            await tonio.sleep(0.001)
            await tonio.spawn(tonio.sleep(0))
        return monotonic() - begun

    join = tonio.spawn(hog())
    await started.wait()
    durations = await tonio.spawn(other(), other(), other())
    ended.set()
    assert await join is True
    assert min(durations) < 1  # ten turns, none of them delayed for long


@needs_parallelism
@both(threads=(2, 4))
async def test_tasks_queued_behind_a_hog_are_taken_by_others() -> None:
    """The hog spawns them itself, so they lie in the queue of its own worker."""
    ended = threading.Event()

    async def child(count: threading.Semaphore) -> None:
        count.release()

    async def hog() -> bool:
        count = threading.Semaphore(0)
        tonio.spawn(*[child(count) for _ in range(50)])
        reached = all(count.acquire(timeout=5) for _ in range(50))
        ended.set()
        return reached

    assert await tonio.spawn(hog()) is True
    assert ended.is_set()


@needs_parallelism
@both(threads=(2, 4))
async def test_task_woken_by_a_hog_is_taken_by_others() -> None:
    """A task that was just woken waits in its waker's slot, and the waker does not come back."""
    event = tonio.Event()
    seen = threading.Event()

    async def waiter() -> None:
        await event.wait()
        seen.set()

    async def hog() -> bool:
        event.set()
        return seen.wait(5)

    for _ in range(5):
        event.clear()
        seen.clear()
        join = tonio.spawn(waiter())
        await tonio.sleep(0.001)
        assert await tonio.spawn(hog()) is True
        await join


@needs_parallelism
@both(threads=(2, 4))
async def test_timers_and_readiness_go_on_behind_a_hog() -> None:
    woken = threading.Event()

    async def sleeper() -> None:
        await tonio.sleep(0.005)
        woken.set()

    async def hog() -> bool:
        return woken.wait(5)

    join = tonio.spawn(sleeper())
    assert await hog() is True
    await join


@both
async def test_nobody_starves_behind_tasks_that_never_stop() -> None:
    stop = False
    turns = 0

    async def spin() -> None:
        nonlocal turns
        while not stop:
            turns += 1
            await tonio.yield_now()

    async def ping(own: tonio.Event, other: tonio.Event) -> None:
        while not stop:
            await own.wait()
            own.clear()
            other.set()

    first, second = tonio.Event(), tonio.Event()
    join = tonio.spawn(*[spin() for _ in range(8)])
    playing = tonio.spawn(ping(first, second), ping(second, first))
    first.set()
    for _ in range(5):
        await tonio.sleep(0.001)
    stop = True
    await join
    first.set()
    second.set()
    await playing
    assert turns > 0


@both
async def test_sockets_and_timers_are_heard_behind_a_long_queue() -> None:
    """A queue that never gets shorter puts off the look at sockets for a while only."""
    stop = False

    async def spin() -> int:
        turns = 0
        while not stop:
            turns += 1
            await tonio.yield_now()
        return turns

    join = tonio.spawn(*[spin() for _ in range(500)])
    one, other = socket.socketpair()
    with one, other:
        for number in range(5):
            await one.send(bytes([number]))
            assert await other.recv(10) == bytes([number])
            await tonio.sleep(0.001)
    stop = True
    assert sum(await join) > 0


@both
async def test_task_whose_operations_are_always_ready_gives_way() -> None:
    """The cooperative budget: it never waits, and still others get their turn."""
    stop = False
    event = tonio.Event()
    event.set()

    async def greedy() -> int:
        count = 0
        while not stop:
            await event.wait()
            count += 1
        return count

    join = tonio.spawn(*[greedy() for _ in range(4)])
    await tonio.sleep(0.005)
    stop = True
    assert all(await join)


@both(threads=(1, 4))
async def test_idle_runtime_uses_no_cpu() -> None:
    never = tonio.Event()
    tonio.map(tonio.sleep, [1000] * 1000)
    tonio.map(lambda _: never.wait(), range(1000))
    await tonio.sleep(0.02)
    begun = process_time()
    await tonio.sleep(0.25)
    assert process_time() - begun < 0.05


# --- foreign threads --------------------------------------------------------------------------


@both
async def test_spawn_from_a_foreign_thread() -> None:
    async def child(number: int) -> int:
        await tonio.sleep(0.0005)
        return number

    ended = tonio.Event()
    joins: list[Any] = []

    def foreign() -> None:
        joins.extend(tonio.spawn(child(number)) for number in range(100))
        joins.append(tonio.map(child, range(200)))
        joins.append(tonio.spawn_blocking(lambda: "job"))
        ended.set()

    thread = threading.Thread(target=foreign)
    thread.start()
    assert await ended.wait(10)
    thread.join()
    for number, join in enumerate(joins[:100]):
        assert await join == number
    assert await joins[100] == list(range(200))
    assert await joins[101] == "job"


@both
async def test_many_foreign_threads_at_once() -> None:
    count = 0
    lock = threading.Lock()

    async def child() -> None:
        nonlocal count
        await tonio.yield_now()
        with lock:
            count += 1

    def foreign() -> None:
        for _ in range(200):
            tonio.spawn.without_tracking(child())

    threads = [threading.Thread(target=foreign) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = monotonic() + 10
    while count < 800 and monotonic() < deadline:
        await tonio.sleep(0.001)
    for thread in threads:
        thread.join()
    assert count == 800


@both(threads=(1, 4))
def test_foreign_threads_that_spawn_while_runs_end(threads: int) -> None:
    """They are served or refused; what was taken has ended when the run has."""
    stop = threading.Event()
    joins: list[Any] = []

    async def child() -> None:
        await tonio.yield_now()

    async def main() -> None:
        await tonio.sleep(0.0002)

    def foreign() -> None:
        while not stop.is_set():
            for start in (
                lambda: tonio.spawn(child()),
                lambda: tonio.spawn_blocking(int),
                lambda: tonio.map(lambda _: child(), range(3)),
            ):
                with suppress(RuntimeNotInitializedError):
                    joins.append(start())

    foreigners = [threading.Thread(target=foreign) for _ in range(3)]
    for thread in foreigners:
        thread.start()
    for _ in range(150):
        tonio.run(main(), threads=threads)
    stop.set()
    for thread in foreigners:
        thread.join()
    assert joins
    assert all(join.done() for join in joins)


@both
def test_jobs_that_spawn_while_the_run_ends(threads: int) -> None:
    joins: list[Any] = []

    async def child() -> None:
        await tonio.yield_now()

    def job(started: Any) -> None:
        with suppress(RuntimeNotInitializedError):
            while True:
                joins.append(tonio.spawn(child()))
                joins.append(tonio.spawn_blocking(int))
                started()

    async def main() -> None:
        events = [tonio.Event() for _ in range(2)]
        for event in events:
            tonio.spawn_blocking(job, event.set)
        for event in events:
            await event.wait()

    for _ in range(10):
        tonio.run(main(), threads=threads)
    assert joins
    assert all(join.done() for join in joins)


@both
async def test_join_of_one_runtime_awaited_in_another(threads: int) -> None:
    go = tonio.Event()

    async def child() -> str:
        await go.wait()
        return "value"

    async def wait_for(join: Any) -> Any:
        return await join

    join = tonio.spawn(child())
    elsewhere = tonio.spawn_blocking(tonio.run, wait_for(join), threads=threads)
    await tonio.sleep(0.002)
    go.set()
    assert await elsewhere == "value"
    assert await join == "value"


@both
async def test_foreign_thread_wakes_a_runtime_that_is_parked() -> None:
    events = [tonio.Event() for _ in range(20)]

    def foreign() -> None:
        for event in events:
            sleep(0.001)
            event.set()

    thread = threading.Thread(target=foreign)
    thread.start()
    for event in events:
        assert await event.wait(10)
    thread.join()


@both
async def test_statistics_can_be_asked_for_from_a_foreign_thread() -> None:
    stats = in_thread(tonio.runtime_stats)
    assert stats
    assert all({"executed", "stolen", "parked"} <= set(worker) for worker in stats)


@both
async def test_statistics_count() -> None:
    def executed() -> int:
        return sum(worker["executed"] for worker in tonio.runtime_stats())

    before = executed()
    for _ in range(100):
        await tonio.yield_now()
    assert executed() >= before + 100
    parked = sum(worker["parked"] for worker in tonio.runtime_stats())
    await tonio.sleep(0.002)
    assert sum(worker["parked"] for worker in tonio.runtime_stats()) > parked


# --- several runtimes -------------------------------------------------------------------------


@both
def test_several_runtimes_work_side_by_side(threads: int) -> None:
    async def child(number: int) -> int:
        await tonio.sleep(0.0002)
        return await tonio.spawn_blocking(abs, -number) + 0

    async def main() -> list[int]:
        results: list[int] = await tonio.map(child, range(50))
        return results

    results: list[Any] = []
    callers = [
        threading.Thread(target=lambda: results.append(tonio.run(main(), threads=threads)))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == [list(range(50))] * 4


@both
def test_foreign_thread_cannot_choose_among_several_runtimes(threads: int) -> None:
    running = threading.Barrier(3)
    stop = tonio.Event()

    async def main() -> None:
        running.wait(10)
        await stop.wait()

    async def child() -> None:
        raise AssertionError("started")

    callers = [
        threading.Thread(target=lambda: tonio.run(main(), threads=threads)) for _ in range(2)
    ]
    for caller in callers:
        caller.start()
    running.wait(10)
    try:
        with pytest.raises(RuntimeError, match="several runtimes"):
            tonio.spawn(child())
    finally:
        stop.set()
    for caller in callers:
        caller.join()


@both
def test_job_of_a_pool_means_its_own_runtime(threads: int) -> None:
    running = threading.Barrier(2)
    stop = tonio.Event()

    async def other() -> None:
        running.wait(10)
        await stop.wait()

    async def child() -> str:
        return "value"

    async def main() -> str:
        running.wait(10)
        join = await tonio.spawn_blocking(lambda: tonio.spawn(child()))
        result: str = await join
        stop.set()
        return result

    caller = threading.Thread(target=lambda: tonio.run(other(), threads=threads))
    caller.start()
    assert tonio.run(main(), threads=threads) == "value"
    caller.join()


@both
def test_runtime_inside_a_blocking_job_of_another(threads: int) -> None:
    async def inner() -> list[int]:
        results: list[int] = await tonio.spawn(give(1), give(2))
        return results

    async def give(value: int) -> int:
        await tonio.sleep(0.0005)
        return value

    async def main() -> Any:
        return await tonio.spawn_blocking(lambda: tonio.run(inner(), threads=threads))

    assert tonio.run(main(), threads=threads) == [1, 2]
