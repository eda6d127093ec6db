"""`Event`: a flag that tasks wait for."""

import threading
from time import monotonic
from typing import Any

import pytest
from helpers import in_thread
from notation import both

import tonio.colored as tonio


@both
async def test_flag_goes_up_and_down() -> None:
    event = tonio.Event()
    assert event.is_set() is False
    assert event.set() is True
    assert event.is_set() is True
    assert event.set() is False
    assert event.clear() is True
    assert event.is_set() is False
    assert event.clear() is False


def test_flag_needs_no_runtime() -> None:
    event = tonio.Event()
    assert event.set() is True
    assert in_thread(event.is_set) is True
    assert in_thread(event.clear) is True


@both
async def test_wait_returns_at_once_when_the_flag_is_up() -> None:
    event = tonio.Event()
    event.set()
    for _ in range(1000):
        assert await event.wait() is True
    assert await event.wait(0) is True
    assert await event.wait(timeout=1000) is True


@both
async def test_event_wakes_its_waiter() -> None:
    event = tonio.Event()
    log = []

    async def waiter() -> None:
        log.append("waits")
        assert await event.wait() is True
        log.append("woken")

    join = tonio.spawn(waiter())
    while not log:
        await tonio.yield_now()
    log.append("set")
    event.set()
    await join
    assert log == ["waits", "set", "woken"]


@both
async def test_event_wakes_all_its_waiters() -> None:
    event = tonio.Event()

    async def waiter() -> bool:
        return await event.wait()

    join = tonio.spawn(*[waiter() for _ in range(1000)])
    await tonio.sleep(0.002)
    event.set()
    assert await join == [True] * 1000


@both
async def test_waiters_that_were_woken_are_not_stopped_by_clear() -> None:
    event = tonio.Event()
    waiting = []

    async def waiter(number: int) -> bool:
        waiting.append(number)
        return await event.wait(10)

    join = tonio.map(waiter, range(100))
    while len(waiting) < 100:
        await tonio.yield_now()
    await tonio.sleep(0.005)  # now they are parked, which nobody can tell
    event.set()
    event.clear()
    assert await join == [True] * 100
    assert not event.is_set()


@both
async def test_wait_gives_up_after_its_timeout() -> None:
    event = tonio.Event()
    begun = monotonic()
    assert await event.wait(0.01) is False
    assert await event.wait(timeout=0.01) is False
    assert monotonic() - begun >= 0.02
    assert await event.wait(0) is False
    event.set()
    assert await event.wait(0) is True


@both
async def test_wait_without_a_limit() -> None:
    async def set_soon(event: tonio.Event) -> None:
        await tonio.sleep(0.002)
        event.set()

    for timeout in (None, float("inf"), 1e18, 10):
        event = tonio.Event()
        tonio.spawn(set_soon(event))
        assert await event.wait(timeout) is True


@both
async def test_timeout_counts_from_the_first_wait() -> None:
    event = tonio.Event()
    operation = event.wait(0.03)
    await tonio.sleep(0.035)
    begun = monotonic()
    assert await operation is False
    assert monotonic() - begun >= 0.025


@both
async def test_ping_pong() -> None:
    turns = 2000
    ping, pong = tonio.Event(), tonio.Event()
    count = 0

    async def player(own: tonio.Event, other: tonio.Event) -> None:
        nonlocal count
        for _ in range(turns):
            await own.wait()
            own.clear()
            count += 1
            other.set()

    join = tonio.spawn(player(ping, pong), player(pong, ping))
    ping.set()
    await join
    assert count == 2 * turns


@both
async def test_set_races_with_timeouts() -> None:
    """Each waiter is woken by one of the two, once, and nobody is forgotten."""
    for round_ in range(30):
        event = tonio.Event()

        async def waiter(number: int, event: tonio.Event = event) -> bool:
            return await event.wait(number * 0.0001)

        async def setter(number: int, event: tonio.Event = event) -> None:
            await tonio.sleep(number * 0.0001)
            event.set()

        join = tonio.map(waiter, range(40))
        await setter(round_ % 10)
        results = await join
        assert len(results) == 40
        assert set(results) <= {True, False}


@both
async def test_set_races_with_cancellation() -> None:
    for _ in range(100):
        event = tonio.Event()
        join = tonio.spawn(tonio.time.timeout(event.wait(), 0.0002))
        await tonio.sleep(0.0002)
        event.set()
        assert await join in {(True, True), (None, False)}


@both
@pytest.mark.parametrize("limit", ["timeout", "scope"])
async def test_race_leaves_nothing_behind_for_the_next_wait(limit: str) -> None:
    """What comes too late to end one wait must not end the next one."""
    never = tonio.Event()

    async def waiter(event: tonio.Event) -> None:
        if limit == "timeout":
            await event.wait(0.001)
        else:
            await tonio.time.timeout(event.wait(), 0.001)
        begun = monotonic()
        assert await never.wait(0.0005) is False
        assert monotonic() - begun > 0.0004

    def set_at(event: tonio.Event, moment: float) -> None:
        while monotonic() < moment:
            pass
        event.set()

    for round_ in range(20):
        event = tonio.Event()
        moment = monotonic() + 0.0012 + round_ * 0.00005  # while they expire one after the other
        setting = tonio.spawn_blocking(set_at, event, moment)
        await tonio.map(waiter, [event] * 100)
        await setting


@both
async def test_set_from_a_foreign_thread() -> None:
    event = tonio.Event()
    thread = threading.Thread(target=event.set)
    thread.start()
    assert await event.wait(10)
    thread.join()


@both
async def test_set_from_a_foreign_thread_while_all_workers_are_parked() -> None:
    event = tonio.Event()
    timer = threading.Timer(0.02, event.set)
    timer.start()
    assert await event.wait(10)
    timer.join()


@both
async def test_set_from_a_blocking_job() -> None:
    event = tonio.Event()
    join = tonio.spawn_blocking(event.set)
    assert await event.wait(10)
    assert await join is True


@both
async def test_set_from_many_foreign_threads_at_once() -> None:
    events = [tonio.Event() for _ in range(400)]

    def set_all(some: list[tonio.Event]) -> None:
        for event in some:
            event.set()

    async def waiter(event: tonio.Event) -> bool:
        return await event.wait(10)

    join = tonio.map(waiter, events)
    threads = [threading.Thread(target=set_all, args=(events[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    assert await join == [True] * 400
    for thread in threads:
        thread.join()


@both
def test_event_of_one_run_in_the_next(threads: int) -> None:
    event = tonio.Event()

    async def wait_in_vain() -> bool:
        return await event.wait(0.001)

    async def wait_and_set() -> Any:
        join = tonio.spawn(event.wait(10))
        event.set()
        return await join

    assert tonio.run(wait_in_vain(), threads=threads) is False
    assert tonio.run(wait_and_set(), threads=threads) is True
    assert tonio.run(event.wait(), threads=threads) is True


@both
def test_event_between_two_runtimes(threads: int) -> None:
    there, back = tonio.Event(), tonio.Event()

    async def first() -> bool:
        there.set()
        return await back.wait(10)

    async def second() -> bool:
        arrived = await there.wait(10)
        back.set()
        return arrived

    results = []
    thread = threading.Thread(target=lambda: results.append(tonio.run(second(), threads=threads)))
    thread.start()
    assert tonio.run(first(), threads=threads) is True
    thread.join()
    assert results == [True]


@both
async def test_event_says_what_it_is() -> None:
    event = tonio.Event()
    assert "Event" in repr(event)
    event.set()
    operation = event.wait()
    assert "operation Event.wait" in repr(operation)
    await operation
    with pytest.raises(TypeError):
        tonio.Event(True)  # type: ignore[call-arg]
