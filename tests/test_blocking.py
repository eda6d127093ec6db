"""Blocking jobs: `spawn_blocking`, `map_blocking` and the pool that runs them."""

import gc
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from helpers import Unraisables, functions_in, is_let_go, threads_of_process, wait_until
from kinds import FACTOR
from notation import both

import tonio.colored as tonio
from tonio.exceptions import CancelledError, TaskCancelled

LIMIT = 10.0 * FACTOR  # seconds that nothing here may take


class Jobs:
    """Jobs that can be counted and are let go together."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = 0
        self.most = 0
        self.threads: set[threading.Thread] = set()
        self.gate = threading.Event()

    def __call__(self, value: Any = None) -> Any:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.threads.add(threading.current_thread())
        try:
            assert self.gate.wait(LIMIT)
        finally:
            with self.lock:
                self.running -= 1
        return value

    def have_gone(self) -> bool:
        return not any(thread in self.threads for thread in threading.enumerate())

    def has(self, number: int) -> Callable[[], bool]:
        return lambda: self.running == number


# --- outcomes ---------------------------------------------------------------------------------


@both
async def test_job_gives_its_value() -> None:
    def job(*args: int, **kwargs: int) -> Any:
        return args, kwargs

    assert await tonio.spawn_blocking(job) == ((), {})
    assert await tonio.spawn_blocking(job, 1, 2, three=3) == ((1, 2), {"three": 3})
    assert await tonio.spawn_blocking(sum, [1, 2, 3]) == 6
    assert await tonio.spawn_blocking(lambda: None) is None


@both
async def test_awaited_job_lets_go_of_what_it_was_given() -> None:
    class Thing:
        pass

    thing = Thing()
    seen = weakref.ref(thing)
    join = tonio.spawn_blocking(lambda given: None, thing)
    assert await join is None
    del thing
    assert await is_let_go(seen)
    assert join.done()


@both
async def test_collector_sees_what_a_job_holds() -> None:
    gate = threading.Event()

    def job() -> bool:
        return gate.wait(LIMIT)

    join = tonio.spawn_blocking(job)
    referrers = gc.get_referrers(job)
    gate.set()
    assert any(found is join for found in referrers)
    assert await join


@both
async def test_cancelling_from_another_thread_meets_the_end() -> None:
    ends = 0
    for _ in range(300):
        join = tonio.spawn_blocking(int)
        canceller = tonio.spawn_blocking(join.cancel)
        with suppress(TaskCancelled, CancelledError):
            assert await join == 0
        ends += 1
        assert await canceller in (True, False)
    assert ends == 300


@both
async def test_job_may_take_a_keyword_called_fn() -> None:
    assert await tonio.spawn_blocking(dict, fn=1, args=2) == {"fn": 1, "args": 2}


@both
async def test_job_runs_on_a_thread_that_is_no_worker() -> None:
    worker = threading.get_ident()
    ident = await tonio.spawn_blocking(threading.get_ident)
    assert ident != worker
    thread = await tonio.spawn_blocking(threading.current_thread)
    assert thread is not threading.main_thread()


@both
async def test_job_raises_what_the_function_raised() -> None:
    error = ValueError("mine")

    def inner() -> None:
        raise error

    def job() -> None:
        inner()

    with pytest.raises(ValueError, match="mine") as caught:
        await tonio.spawn_blocking(job)
    assert caught.value is error
    assert functions_in(caught.value)[-2:] == ["job", "inner"]


@both
async def test_job_starts_at_once_and_its_join_can_be_awaited_by_many() -> None:
    started = tonio.Event()

    def job() -> str:
        started.set()
        return "value"

    async def waiter(join: Any) -> Any:
        return await join

    join = tonio.spawn_blocking(job)
    assert isinstance(join, tonio.Join)
    assert await started.wait(LIMIT)
    assert await tonio.map(waiter, [join] * 10) == ["value"] * 10
    assert await join == "value"
    assert join.done()


@both
async def test_waiting_for_a_job_holds_up_nobody() -> None:
    gate = threading.Event()

    async def open_gate() -> None:
        await tonio.sleep(0.001)
        gate.set()

    tonio.spawn(open_gate())
    assert await tonio.spawn_blocking(gate.wait, LIMIT) is True


@both
async def test_many_short_jobs() -> None:
    async def child(number: int) -> int:
        value: int = await tonio.spawn_blocking(abs, -number)
        return value

    assert await tonio.map(child, range(1000)) == list(range(1000))


@both
def test_error_of_a_dropped_job_is_reported(threads: int, unraisables: Unraisables) -> None:
    async def main() -> None:
        def job() -> None:
            raise KeyError("dropped")

        tonio.spawn_blocking(job)
        await tonio.spawn_blocking(int)  # the only thread has done with the first job

    tonio.run(main(), threads=threads, blocking_threadpool_size=1)
    (report,) = unraisables.take()
    assert report.type is KeyError


@both
async def test_map_blocking_gives_a_list_in_order() -> None:
    def job(number: int) -> int:
        time.sleep(0.0001 * (number % 5))
        return -number

    assert await tonio.map_blocking(job, range(50)) == [-number for number in range(50)]
    assert await tonio.map_blocking(job, [3]) == [-3]
    assert await tonio.map_blocking(job, []) == []
    assert await tonio.map_blocking(job, iter([1, 2])) == [-1, -2]


@both
async def test_map_blocking_raises_the_group() -> None:
    def job(number: int) -> int:
        if number % 2:
            raise ValueError(number)
        return number

    with pytest.raises(ExceptionGroup) as caught:
        await tonio.map_blocking(job, range(6))
    assert [error.args for error in caught.value.exceptions] == [(1,), (3,), (5,)]


# --- the pool ---------------------------------------------------------------------------------


@both(blocking_threadpool_size=5)
async def test_pool_grows_on_demand_to_its_size_and_the_rest_queues() -> None:
    jobs = Jobs()
    first = tonio.spawn_blocking(jobs, "first")
    assert wait_until(jobs.has(1))
    join = tonio.map_blocking(jobs, range(20))
    assert wait_until(jobs.has(5))
    await tonio.sleep(0.01)  # a sixth would have begun by now
    assert jobs.running == len(jobs.threads) == 5
    jobs.gate.set()
    assert await join == list(range(20))
    assert await first == "first"
    assert jobs.most == 5


@both(blocking_threadpool_size=1)
async def test_pool_of_one_thread_runs_jobs_in_order() -> None:
    order: list[int] = []
    await tonio.map_blocking(order.append, range(100))
    assert order == list(range(100))


@both
async def test_idle_threads_are_used_again() -> None:
    idents = set()
    for _ in range(20):
        idents.add(await tonio.spawn_blocking(threading.get_ident))
    assert len(idents) <= 2


@both(blocking_threadpool_idle_ttl=0.02)
async def test_idle_threads_leave_and_new_ones_come() -> None:
    for _ in range(2):
        jobs = Jobs()
        join = tonio.map_blocking(jobs, range(4))
        assert wait_until(jobs.has(4))
        assert len(jobs.threads) == 4
        jobs.gate.set()
        await join
        assert wait_until(jobs.have_gone)


@both(blocking_threadpool_idle_ttl=0)
async def test_threads_that_leave_at_once_lose_no_job() -> None:
    for round_ in range(20):
        assert await tonio.map_blocking(abs, range(-round_, 0)) == list(range(round_, 0, -1))
        assert await tonio.spawn_blocking(abs, -1) == 1


@both(blocking_threadpool_size=1, blocking_threadpool_idle_ttl=0.0003)
async def test_the_only_thread_takes_a_job_that_comes_while_it_leaves() -> None:
    for i in range(1000):
        assert await tonio.spawn_blocking(abs, -i) == i
        await tonio.sleep(0.0001 + 0.00001 * (i % 60))


@both
def test_threads_of_the_pool_end_with_the_run(threads: int) -> None:
    async def main() -> None:
        await tonio.map_blocking(lambda _: time.sleep(0.001), range(20))

    before = threads_of_process()
    tonio.run(main(), threads=threads, blocking_threadpool_idle_ttl=1000)
    assert wait_until(lambda: threads_of_process() == before)


@both
async def test_jobs_can_submit_jobs() -> None:
    joins = []

    def outer() -> None:
        joins.append(tonio.spawn_blocking(lambda: "inner"))

    await tonio.spawn_blocking(outer)
    assert await joins[0] == "inner"


@both
async def test_jobs_can_spawn_tasks() -> None:
    async def child() -> str:
        await tonio.sleep(0.001)
        return "value"

    joins = []
    await tonio.spawn_blocking(lambda: joins.append(tonio.spawn(child())))
    assert await joins[0] == "value"


# --- cancellation -----------------------------------------------------------------------------


def work_in_small_steps(started: Callable[[], Any], log: list[str]) -> None:
    """What a CancelledError can interrupt: there is always a next bytecode soon."""
    try:
        started()
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            time.sleep(0.001)
        log.append("never interrupted")
    except CancelledError:
        log.append("interrupted")
        raise
    finally:
        log.append("ended")


@both
async def test_cancelled_waiter_interrupts_the_job_and_waits_for_its_end() -> None:
    started, log = tonio.Event(), []

    async def waiter() -> None:
        await tonio.spawn_blocking(work_in_small_steps, started.set, log)

    assert await tonio.time.timeout(waiter(), 0.01) == (None, False)
    assert log in (["interrupted", "ended"], [])  # [] if it had not begun
    assert not started.is_set() or log


@both
async def test_join_of_an_interrupted_job_is_cancelled() -> None:
    started, log = tonio.Event(), []
    join = tonio.spawn_blocking(work_in_small_steps, started.set, log)
    await started.wait()
    join.cancel()
    with pytest.raises(TaskCancelled):
        await join
    assert log == ["interrupted", "ended"]


@both(blocking_threadpool_size=1)
async def test_interruption_never_reaches_the_next_job() -> None:
    """One thread runs all of them: what was meant for one must not strike another."""

    def innocent(number: int) -> int:
        for _ in range(200):
            pass
        return number

    for number in range(100):
        started, log = tonio.Event(), []
        victim = tonio.spawn_blocking(work_in_small_steps, started.set, log)
        following = tonio.map_blocking(innocent, range(5))
        await started.wait()
        victim.cancel()
        with pytest.raises(TaskCancelled):
            await victim
        assert await following == [0, 1, 2, 3, 4]
        if number % 10 == 0:
            assert log == ["interrupted", "ended"]


@both(blocking_threadpool_size=1)
async def test_interruption_that_found_nothing_to_interrupt_is_forgotten() -> None:
    """The job has no bytecode at which it could strike; the one after it has."""

    def innocent() -> str:
        for _ in range(200):
            pass
        return "value"

    for _ in range(5):
        join = tonio.spawn_blocking(time.sleep, 0.004)
        following = tonio.spawn_blocking(innocent)
        await tonio.sleep(0.002)
        join.cancel()
        with suppress(TaskCancelled):
            assert await join is None
        assert await following == "value"


@both(blocking_threadpool_size=2)
async def test_interruption_races_with_the_end_of_the_job() -> None:
    def short() -> str:
        for _ in range(50):
            pass
        return "value"

    for _ in range(200):
        join = tonio.spawn_blocking(short)
        following = tonio.spawn_blocking(short)
        join.cancel()
        with suppress(TaskCancelled):
            assert await join == "value"
        assert await following == "value"


@both(blocking_threadpool_size=1)
async def test_job_that_was_never_started_is_dropped_from_the_queue() -> None:
    jobs = Jobs()
    ran = []
    blocker = tonio.spawn_blocking(jobs)
    assert wait_until(jobs.has(1))
    queued = tonio.spawn_blocking(ran.append, "queued")

    async def waiter() -> None:
        await queued

    assert await tonio.time.timeout(waiter(), 0.002) == (None, False)
    with pytest.raises(TaskCancelled):
        await queued
    following = tonio.spawn_blocking(ran.append, "following")
    jobs.gate.set()
    await blocker
    await following
    assert ran == ["following"]


@both
async def test_error_that_a_job_raises_on_interruption_is_not_lost() -> None:
    started = tonio.Event()

    def job() -> None:
        try:
            work_in_small_steps(started.set, [])
        except CancelledError:
            raise OSError("in clean-up") from None

    async def waiter() -> None:
        await tonio.spawn_blocking(job)

    join = tonio.spawn(waiter())
    await started.wait()
    join.cancel()
    with pytest.raises(ExceptionGroup) as caught:
        await join
    assert isinstance(caught.value.exceptions[0], OSError)


@both
async def test_abandoned_job_goes_on_without_its_waiter() -> None:
    jobs = Jobs()

    async def waiter() -> None:
        await tonio.spawn_blocking.abandon(jobs)

    begun = time.monotonic()
    assert await tonio.time.timeout(waiter(), 0.01) == (None, False)
    assert time.monotonic() - begun < LIMIT / 2
    assert wait_until(jobs.has(1))
    jobs.gate.set()
    assert wait_until(jobs.has(0))
    assert await tonio.spawn_blocking.abandon(sum, (1, 2), start=3) == 6


@both
def test_jobs_that_run_at_the_end_are_interrupted(threads: int) -> None:
    log: list[str] = []

    async def main() -> str:
        started = tonio.Event()
        tonio.spawn_blocking(work_in_small_steps, started.set, log)
        await started.wait()
        return "value"

    begun = time.monotonic()
    assert tonio.run(main(), threads=threads) == "value"
    assert log == ["interrupted", "ended"]
    assert time.monotonic() - begun < LIMIT / 2


@both
def test_jobs_that_queue_at_the_end_are_dropped(threads: int) -> None:
    ran: list[int] = []

    async def main() -> None:
        started = tonio.Event()
        tonio.spawn_blocking(work_in_small_steps, started.set, [])
        tonio.map_blocking(ran.append, range(100))
        await started.wait()

    tonio.run(main(), threads=threads, blocking_threadpool_size=1)
    assert ran == []


@both
def test_exit_in_a_job(threads: int) -> None:
    """`SystemExit` of a job ends the run if somebody waits for the job."""

    def job() -> None:
        raise SystemExit(7)

    async def main() -> None:
        await tonio.spawn_blocking(job)

    with pytest.raises(SystemExit) as caught:
        tonio.run(main(), threads=threads)
    assert caught.value.code == 7
