"""What a free-threaded interpreter would do to such a runtime, were it not prevented.

More of them are in the files of their subjects: an exception handled around `run` (test_run.py),
nesting without an end (test_nesting.py), the end of a stream that arrives with data
(test_socket.py), an interruption that hits the wrong job (test_blocking.py), operations nobody
awaits (test_bad_input.py).
"""

import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from notation import as_written, both

import tonio.colored as tonio

PROMPT = 0.5  # seconds within which an object whose last reference is gone must be gone, too


# --- one coroutine, two threads ---------------------------------------------------------------


async def count_up(counter: list[int]) -> None:
    for _ in range(5):
        await tonio.yield_now()
        counter.append(1)


@both
async def test_coroutine_that_many_threads_spawn_runs_once() -> None:
    """Resumed by two threads at once it would crash the process."""
    rounds, parties = 100, 3
    meeting = threading.Barrier(parties)
    coroutines: list[Any] = []
    outcomes: list[Any] = []
    counter: list[int] = []

    def foreign() -> None:
        for number in range(rounds):
            meeting.wait(10)
            try:
                outcomes.append(tonio.spawn(coroutines[number]))
            except RuntimeError:
                outcomes.append(None)

    coroutines.extend(count_up(counter) for _ in range(rounds))
    threads = [threading.Thread(target=foreign) for _ in range(parties)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        await tonio.sleep(0.001)
    joins = [outcome for outcome in outcomes if outcome is not None]
    assert len(outcomes) == rounds * parties
    assert len(joins) == rounds
    for join in joins:
        await join
    assert len(counter) == rounds * 5


@both(notations=("yield",))
async def test_generator_that_many_tasks_yield_runs_once() -> None:
    counter: list[int] = []

    async def tell(coroutine: Any, go: tonio.Event) -> str:
        await go.wait()
        try:
            await coroutine
        except RuntimeError:
            return "refused"
        return "run"

    for _ in range(50):
        coroutine = count_up(counter)
        go = tonio.Event()
        join = tonio.spawn(*[tell(coroutine, go) for _ in range(8)])
        go.set()
        assert sorted(await join) == ["refused"] * 7 + ["run"]
    assert len(counter) == 50 * 5


@both
async def test_operation_that_many_tasks_await_is_awaited_once() -> None:
    async def tell(operation: Any, go: tonio.Event) -> str:
        await go.wait()
        try:
            await operation
        except RuntimeError:
            return "refused"
        return "woken"

    for _ in range(50):
        event, go = tonio.Event(), tonio.Event()
        operation = event.wait()
        join = tonio.spawn(*[tell(operation, go) for _ in range(8)])
        go.set()
        await tonio.yield_now()
        event.set()
        assert sorted(await join) == ["refused"] * 7 + ["woken"]


# --- the last reference -----------------------------------------------------------------------


class Witness:
    """Tells when it goes."""

    def __init__(self) -> None:
        self.gone = threading.Event()

    def watch(self) -> threading.Event:
        return self.gone

    def __del__(self) -> None:
        self.gone.set()


def drop_when_parked(box: list[Any], gone: threading.Event, delay: float = 0.02) -> bool:
    """Drops the last reference to what is in the box. Was it gone soon?"""
    time.sleep(delay)  # by now the worker that made it is parked, which nobody can ask
    box.clear()
    return gone.wait(PROMPT)


@both
@pytest.mark.parametrize("parked", ["event", "timer"])
async def test_last_reference_dropped_by_a_foreign_thread(parked: str) -> None:
    """The object is of a worker that sleeps: it must be woken to let go of it."""
    done = tonio.Event()
    box = [Witness()]
    gone = box[0].watch()
    prompt: list[bool] = []

    def foreign() -> None:
        prompt.append(drop_when_parked(box, gone))
        done.set()

    thread = threading.Thread(target=foreign)
    thread.start()
    assert await done.wait(None if parked == "event" else 10)
    thread.join()
    assert prompt == [True]


@both
async def test_last_reference_dropped_by_a_blocking_job() -> None:
    box = [Witness()]
    gone = box[0].watch()
    assert await tonio.spawn_blocking(drop_when_parked, box, gone) is True


@both(threads=(1, 4))
async def test_last_reference_dropped_when_all_has_been_quiet_for_long() -> None:
    box = [Witness()]
    gone = box[0].watch()
    assert await tonio.spawn_blocking(drop_when_parked, box, gone, 0.3) is True


@both(threads=(2, 4))
async def test_last_references_of_every_worker(threads: int) -> None:
    """Some of them sleep in the poller, the others elsewhere."""
    meeting = threading.Barrier(threads)
    boxes: list[list[Any]] = []
    watched: list[threading.Event] = []

    async def make() -> None:
        meeting.wait(10)  # so that each worker makes one
        boxes.append([witness := Witness()])
        watched.append(witness.watch())

    def drop_all() -> list[bool]:
        time.sleep(0.03)
        for box in boxes:
            box.clear()
        return [gone.wait(PROMPT) for gone in watched]

    await tonio.spawn(*[make() for _ in range(threads)])
    assert await tonio.spawn_blocking(drop_all) == [True] * threads


@both
async def test_last_reference_of_a_job_dropped_by_a_task() -> None:
    """The other way round: made by a thread of the pool which is idle when it is dropped."""
    box: list[Any] = []

    def job() -> threading.Event:
        box.append(Witness())
        gone: threading.Event = box[0].watch()
        return gone

    gone = await tonio.spawn_blocking(job)
    await tonio.sleep(0.02)
    box.clear()
    deadline = time.monotonic() + PROMPT
    while not gone.is_set() and time.monotonic() < deadline:
        await tonio.sleep(0.001)
    assert gone.is_set()


@both
async def test_result_of_a_task_goes_with_its_join() -> None:
    """The runtime itself keeps no last value anywhere."""
    watched: list[threading.Event] = []

    async def child() -> Witness:
        await tonio.yield_now()
        witness = Witness()
        watched.append(witness.watch())
        return witness

    async def use() -> None:
        assert isinstance(await tonio.spawn(child()), Witness)
        assert isinstance(await child(), Witness)
        value, _ = await tonio.time.timeout(child(), 10)
        assert isinstance(value, Witness)
        assert isinstance(await tonio.spawn_blocking(Witness), Witness)

    await tonio.spawn(use())
    deadline = time.monotonic() + PROMPT
    while not all(gone.is_set() for gone in watched) and time.monotonic() < deadline:
        await tonio.sleep(0.001)
    assert [gone.is_set() for gone in watched] == [True] * 3


# --- finalisers anywhere ----------------------------------------------------------------------


class Disposal:
    """Does something with the runtime when it goes, on whichever thread."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def __del__(self) -> None:
        self.action()


@both
async def test_finalisers_may_use_the_runtime() -> None:
    events = [tonio.Event() for _ in range(6)]

    async def child(event: tonio.Event) -> None:
        event.set()

    async def hold(_: Disposal) -> None:
        await tonio.yield_now()

    await hold(Disposal(events[0].set))
    await tonio.spawn(hold(Disposal(events[1].set)))
    tonio.spawn.without_tracking(hold(Disposal(lambda: tonio.spawn(child(events[2])))))
    await tonio.spawn_blocking(lambda _: None, Disposal(events[3].set))
    box = [Disposal(lambda: tonio.spawn.without_tracking(child(events[4])))]
    await tonio.spawn_blocking(box.clear)
    join = tonio.spawn(hold(Disposal(events[5].set)))
    join.cancel()
    for event in events:
        assert await event.wait(5)


@both
async def test_unfinished_coroutine_that_is_dropped_cleans_up() -> None:
    """Dropped by a job while a task of the same worker runs something else."""
    log = []

    @as_written
    def started() -> Generator[Any, Any]:
        try:
            yield
        finally:
            log.append("ended")

    generator = started()
    next(generator)
    box = [generator]
    del generator
    await tonio.spawn_blocking(box.clear)
    deadline = time.monotonic() + PROMPT
    while not log and time.monotonic() < deadline:
        await tonio.sleep(0.001)
    assert log == ["ended"]


@both
async def test_garbage_collections_in_the_middle_of_everything() -> None:
    import gc

    async def work(number: int) -> int:
        cycle: list[Any] = [number]
        cycle.append(cycle)
        await tonio.sleep(0.0005 * (number % 3))
        inner: int = await tonio.spawn(give(number))
        return inner

    async def give(value: int) -> int:
        await tonio.yield_now()
        return value

    join = tonio.map(work, range(500))
    for _ in range(5):
        gc.collect()
        await tonio.yield_now()
        await tonio.spawn_blocking(gc.collect)
    assert await join == list(range(500))
