"""Scenarios: small programs whose every call of the system and the allocators is made to fail.

Written with ``await``; run.py also runs them in the `yield` notation, on one thread and on two. A
scenario checks its own results with assertions and returns "done". When a call has failed it may
instead end with an exception that tells of the fault, or that is named in `also`: what the failure
of one side means for the other. It must never assert in vain, hang, or leave anything behind.

`CHECKS` are looked at after the run, whatever came of it. `persist` repeats an operation that ran
out of memory: it must have done nothing, so in the end everything was done once.
"""

import gc
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tonio.colored as tonio
from tonio.colored import time
from tonio.colored.sync import channel
from tonio.exceptions import (
    DeadlockError,
    RuntimeNotInitializedError,
    TaskCancelled,
)


@dataclass
class Scenario:
    function: Callable[..., Any]
    also: tuple[type[BaseException], ...] = ()  # what may come out of it after a fault
    lost: tuple[type[BaseException], ...] = ()  # its own errors that may be reported as unraisable
    options: dict[str, Any] = field(default_factory=dict)  # of the run
    plain: bool = False  # an ordinary function, called with the number of threads


SCENARIOS: dict[str, Scenario] = {}
CHECKS: list[Callable[[], None]] = []


def scenario(
    *also: type[BaseException], lost: tuple[type[BaseException], ...] = (), **options: Any
) -> Callable[[Any], Any]:
    def add(function: Any) -> Any:
        SCENARIOS[function.__name__] = Scenario(function, also, lost, options)
        return function

    return add


def plain(*also: type[BaseException]) -> Callable[[Any], Any]:
    def add(function: Any) -> Any:
        SCENARIOS[function.__name__] = Scenario(function, also, plain=True)
        return function

    return add


def after(check: Callable[[], None]) -> None:
    CHECKS.append(check)


async def persist(make):
    """Waits for what `make` makes, and again, until memory was enough for it."""
    while True:
        try:
            return await make()
        except MemoryError:
            pass


async def value(x):
    await tonio.yield_now()
    return x


async def forever():
    await tonio.Event().wait()


# --- tasks ------------------------------------------------------------------------------------


@scenario()
async def spawn_and_join():
    assert await tonio.spawn(value(1), value(2), value(3)) == [1, 2, 3]
    assert await tonio.spawn(value(4)) == 4
    assert await tonio.spawn() == []
    assert await tonio.spawn.without_results(value(5), value(6)) is None
    assert await tonio.map(value, [7, 8]) == [7, 8]
    join = tonio.spawn(value(9))
    assert join.name == "value"
    assert await join == 9
    assert await join == 9
    assert join.done()
    several = tonio.spawn(value(10), value(11))
    assert "2 tasks" in repr(several)
    assert await several == [10, 11]
    return "done"


@scenario()
async def many_tasks():
    """More tasks than a slab has: there may be no memory for the next.

    They do nothing that could fail: of more than 16 MemoryErrors at a time the interpreter keeps
    one, with its traceback.
    """

    async def work(x):
        return x

    found = await tonio.spawn(*[work(i) for i in range(600)])
    assert found == list(range(600))
    return "done"


@scenario()
async def many_untracked_tasks():
    results = []

    async def work(x):
        results.append(x)

    tonio.spawn.without_tracking(*[work(x) for x in range(600)])
    while len(results) < 600:
        await tonio.yield_now()
    return "done"


@scenario(lost=(ValueError,))
async def errors_of_tasks():
    """The first failure is always raised; there may be no memory for the second."""

    async def fail(x):
        await tonio.yield_now()
        raise ValueError(x)

    caught = []
    try:
        await tonio.spawn(fail(1), value(2), fail(3))
    except* ValueError as group:
        caught = sorted(error.args for error in group.exceptions)
    assert set(caught) <= {(1,), (3,)}
    assert caught
    return "done"


@scenario(TaskCancelled)
async def cancelled_joins():
    ended = []

    async def work():
        try:
            await forever()
        finally:
            ended.append(1)

    join = tonio.spawn(work())
    await tonio.yield_now()
    assert join.cancel() or ended or join.done()
    try:
        await join
        raise AssertionError
    except TaskCancelled:
        pass
    assert len(ended) <= 1  # with two threads it may not have begun
    return "done"


@scenario()
async def many_in_a_scope():
    """More tasks than a slab has: there may be no memory for one more."""
    results = []

    async def work(x):
        results.append(x)

    async with tonio.scope() as scope:
        for x in range(600):
            scope.spawn(work(x))
    assert len(results) == 600
    return "done"


@scenario()
async def many_without_results():
    assert await tonio.spawn.without_results(*[value(i) for i in range(20)]) is None
    assert await tonio.spawn_blocking(int, "11", base=3) == 4
    return "done"


@scenario()
async def deep_calls():
    async def down(n):
        return 0 if n == 0 else 1 + await down(n - 1)

    assert await down(60) == 60
    assert await tonio.spawn(down(20), down(30)) == [20, 30]
    return "done"


@scenario()
async def detached_tasks():
    event = tonio.Event()

    async def notify():
        try:
            await tonio.yield_now()
        finally:
            event.set()

    tonio.spawn.without_tracking(notify())
    assert await event.wait(5)
    assert tonio.current_task().name == "detached_tasks"
    assert "detached_tasks" in repr(tonio.current_task())
    assert sum(worker["executed"] for worker in tonio.runtime_stats()) > 0
    return "done"


@scenario(context=True)
async def contexts():
    assert await tonio.spawn(value(1), value(2)) == [1, 2]
    assert await tonio.spawn_blocking(len, "abc") == 3
    await tonio.sleep(0.0005)
    return "done"


@scenario()
async def pinned_tasks():
    with tonio.pinned():
        thread = threading.get_ident()
        await tonio.sleep(0.0005)
        await tonio.yield_now()
        assert threading.get_ident() == thread
    return "done"


@scenario()
async def many_operations():
    event = tonio.Event()
    event.set()
    for _ in range(150):
        assert await event.wait()
    return "done"


# --- scopes -----------------------------------------------------------------------------------


@scenario()
async def scopes():
    results = []

    async def work(x):
        await tonio.sleep(0.0002)
        results.append(x)

    async with tonio.scope() as scope:
        scope.spawn(work(1))
        scope.spawn(work(2))
    assert sorted(results) == [1, 2]
    return "done"


@scenario()
async def cancelled_scopes():
    state = []

    async def work():
        state.append("in")
        try:
            await forever()
        finally:
            state.append("out")

    def check():
        assert state.count("in") == state.count("out"), state

    after(check)
    async with tonio.scope() as scope:
        scope.spawn(work())
        scope.spawn(work())
        await tonio.sleep(0.0005)
        scope.cancel()
        await tonio.yield_now()
        raise AssertionError
    assert scope.cancelled
    return "done"


@scenario(ValueError, lost=(ValueError,))
async def failing_scopes():
    async def fail():
        await tonio.yield_now()
        raise ValueError

    caught = []
    try:
        async with tonio.scope() as scope:
            scope.spawn(fail())
            scope.spawn(forever())
            await forever()
    except* ValueError as group:
        caught += group.exceptions
    assert len(caught) == 1

    async def fail_in_the_end():
        try:
            await forever()
        finally:
            raise ValueError

    caught = []
    try:
        async with tonio.scope() as scope:
            scope.spawn(fail())
            scope.spawn(fail_in_the_end())
    except* ValueError as group:
        caught += group.exceptions
    assert 1 <= len(caught) <= 2
    return "done"


@scenario(TimeoutError)
async def limits():
    async with tonio.scope(timeout=0.001) as scope:
        await forever()
    assert scope.cancelled
    try:
        with time.fail_after(0.001):
            await forever()
        raise AssertionError
    except TimeoutError:
        pass
    async with tonio.scope() as outer:
        outer.cancel()
        async with tonio.scope(shield=True):
            await tonio.sleep(0.0002)
    return "done"


@scenario()
async def nested_scopes():
    seen = []

    async def inner():
        async with tonio.scope() as scope:
            scope.spawn(value(1))
            scope.spawn(forever())
            try:
                await forever()
            finally:
                seen.append("inner")

    async with tonio.scope() as scope:
        scope.spawn(inner())
        await tonio.sleep(0.0005)
        scope.cancel()
    assert len(seen) <= 1
    return "done"


@scenario()
async def selects():
    event = tonio.Event()
    sender, receiver = channel.channel(1)

    async def slow():
        await tonio.sleep(30)

    event.set()
    assert await tonio.select(event.wait(), receiver.receive())
    await sender.send("message")
    assert await tonio.select(tonio.Event().wait(), receiver.receive()) == "message"
    assert await tonio.select(value(3), slow()) == 3
    assert await tonio.select(tonio.sleep(0.0005), tonio.Event().wait()) is None
    return "done"


@scenario()
async def selected_messages():
    sender, receiver = channel.unbounded()
    other = tonio.Event()
    got = []

    async def send():
        for i in range(4):
            sender.send(i)
            await tonio.yield_now()

    async with tonio.scope() as scope:
        scope.spawn(send())
        while len(got) < 4:
            try:
                got.append(await tonio.select(receiver.receive(), other.wait()))
            except MemoryError:
                if scope.cancel_called or scope.cancelled:
                    raise
    assert got == [0, 1, 2, 3], got
    return "done"


@scenario()
async def completions():
    found = []
    async for x in tonio.as_completed(value(1), value(2)):
        found.append(x)
    assert sorted(found) == [1, 2]
    return "done"


# --- time -------------------------------------------------------------------------------------


@scenario()
async def timeouts():
    state = []

    async def slow():
        state.append("in")
        try:
            await tonio.sleep(30)
        finally:
            state.append("out")

    def check():
        assert state.count("in") == state.count("out"), state

    after(check)
    assert await time.timeout(value(1), 5) == (1, True)
    assert await time.timeout(slow(), 0.001) == (None, False)
    assert await tonio.Event().wait(0.0005) is False
    return "done"


@scenario()
async def sleeps():
    start = time.time()
    await tonio.sleep(0.0005)
    await tonio.sleep(0)
    await time.sleep_until(time.time() + 0.0005)
    every = time.interval(0.0005)
    for _ in range(3):
        await every.tick()
    assert 0.002 <= time.time() - start < 5
    return "done"


# --- runs -------------------------------------------------------------------------------------


@plain(RuntimeNotInitializedError)
def runs(threads):
    with tonio.runtime(threads=threads) as runtime:
        for i in range(2):
            assert runtime.run_until_complete(value(i)) == i
    assert tonio.run(tonio.sleep(0.0002), threads=threads) is None
    try:
        tonio.run(fail_at_once(), threads=threads)
        raise AssertionError
    except ValueError:
        pass
    return "done"


async def fail_at_once():
    raise ValueError


@plain()
def servers(threads):
    """`run_forever` in a thread, `block_on` and `spawn` from outside."""
    runtime = tonio.runtime(threads=threads)
    failures = []
    ended = threading.Event()

    def run():
        try:
            assert runtime.run_forever() is None
        except BaseException as error:
            failures.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not ended.is_set():
            try:
                if tonio.block_on(value(1)) == 1:
                    break
            except RuntimeNotInitializedError:
                pass
        if not ended.is_set():
            assert tonio.block_on(value(7)) == 7
            tonio.spawn.without_tracking(value(8))
    finally:
        while not ended.is_set():
            runtime.stop()
            ended.wait(0.0005)
        thread.join()
    if failures:
        raise failures[0]
    return "done"


@scenario()
async def left_behind():
    state = []

    async def work():
        state.append("in")
        try:
            await forever()
        finally:
            state.append("out")

    def check():
        assert state.count("in") == state.count("out"), state

    after(check)
    tonio.spawn(work())
    tonio.spawn.without_tracking(work())
    await tonio.sleep(0.0005)
    return "done"


@scenario()
async def asynchronous_generators():
    state = []

    async def generate():
        state.append("in")
        try:
            yield 1
            yield 2
        finally:
            state.append("out")

    items = generate()
    assert await anext(items) == 1
    del items
    kept = generate()
    assert await anext(kept) == 1
    gc.collect()
    await tonio.sleep(0.0005)
    state.append(kept)
    return "done"


@plain(DeadlockError)
def deadlocks(threads):
    try:
        tonio.run(forever(), threads=threads)
        raise AssertionError
    except DeadlockError:
        pass
    return "done"


@plain(KeyboardInterrupt)
def interrupts(threads):
    state = []

    async def program():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await forever()
        finally:
            state.append("out")

    try:
        tonio.run(program(), threads=threads)
        raise AssertionError
    except KeyboardInterrupt:
        pass
    assert state == ["out"]
    return "done"


@plain()
def awaitables(threads):
    """Objects with `__await__`, plain iterators, and what cannot run."""

    class Awaitable:
        def __await__(self):
            return tonio.sleep(0.0002).__await__()

    class Iterator:
        def __await__(self):
            return iter([None, None])

    async def program():
        await Awaitable()
        await tonio.spawn(Awaitable())
        await tonio.spawn(Iterator())
        try:
            tonio.spawn(42)
            raise AssertionError
        except TypeError:
            pass
        coroutine = value(1)
        assert await tonio.spawn(coroutine) == 1
        try:
            tonio.spawn(coroutine)
            raise AssertionError
        except RuntimeError:
            pass
        return "done"

    return tonio.run(program(), threads=threads)


async def sanity():
    """What every case ends with, without faults: the next run works."""
    event = tonio.Event()
    tonio.spawn.without_tracking(set_event(event))
    await event.wait()
    await tonio.sleep(0.0001)
    return await tonio.spawn(value(1), value(2))


async def set_event(event):
    await tonio.yield_now()
    event.set()
