"""`tonio.time`: the clock, sleeping, time limits, intervals."""

from time import monotonic
from typing import Any

import pytest
from helpers import functions_in, in_thread
from kinds import FACTOR
from notation import both

import tonio.colored as tonio
from tonio.colored import time
from tonio.exceptions import CancelledError

RESOLUTION = 2e-6  # the runtime's clock counts microseconds

# --- the clock --------------------------------------------------------------------------------


@both
async def test_clock_is_monotonic() -> None:
    times = [time.time() for _ in range(10_000)]
    assert times == sorted(times)
    assert all(isinstance(moment, float) for moment in times)


@both
async def test_clock_runs_in_seconds() -> None:
    own, reference = time.time(), monotonic()
    await time.sleep(0.02)
    own, reference = time.time() - own, monotonic() - reference
    assert own >= 0.02
    assert abs(own - reference) < 0.005


def test_clock_is_one_for_the_whole_process() -> None:
    before = time.time()
    elsewhere = in_thread(time.time)
    assert before <= elsewhere <= time.time()
    assert elsewhere <= tonio.run(clock_in_a_run(), threads=1) <= time.time()


async def clock_in_a_run() -> float:
    return time.time()


# --- sleep ------------------------------------------------------------------------------------


@both
async def test_sleep_takes_its_time_and_not_much_more() -> None:
    late = []
    for _ in range(5):
        begun = monotonic()
        assert await tonio.sleep(0.01) is None
        late.append(monotonic() - begun - 0.01)
    assert min(late) >= -RESOLUTION
    assert min(late) < 0.005  # the machine may be busy elsewhere, but not five times


@both
async def test_sleeps_overlap() -> None:
    begun = monotonic()
    await tonio.spawn(*[tonio.sleep(0.05) for _ in range(100)])
    assert 0.05 <= monotonic() - begun < 0.5 * FACTOR


@both(threads=(1,))
async def test_sleepers_wake_in_order() -> None:
    log: list[int] = []

    async def sleeper(number: int) -> None:
        await tonio.sleep(number * 0.004)
        log.append(number)

    await tonio.map(sleeper, [5, 1, 4, 2, 3])
    assert log == [1, 2, 3, 4, 5]


@both(threads=(1,))
@pytest.mark.parametrize("delay", [0, 0.0, -1, float("-inf"), False])
async def test_sleep_of_no_time_lets_others_run(delay: float) -> None:
    log = []

    async def other() -> None:
        log.append("other")

    join = tonio.spawn(other())
    assert await tonio.sleep(delay) is None
    log.append("slept")
    assert log == ["other", "slept"]
    await join


@both
async def test_endless_sleep_ends_by_cancellation() -> None:
    for delay in (float("inf"), 1e300, 10**30):
        assert await time.timeout(tonio.sleep(delay), 0.001) == (None, False)


@both
async def test_delay_may_be_any_number() -> None:
    class Number:
        def __float__(self) -> float:
            return 0.001

    from fractions import Fraction

    for delay in (Fraction(1, 1000), Number(), 1e-9):
        assert await time.timeout(tonio.sleep(delay), 10) == (None, True)


@both
async def test_many_sleeps_of_random_length() -> None:
    import random

    generator = random.Random(1)
    woken: list[float] = []

    async def sleeper(delay: float) -> None:
        begun = monotonic()
        await tonio.sleep(delay)
        woken.append(monotonic() - begun - delay)

    await tonio.map(sleeper, [generator.uniform(0, 0.05) for _ in range(3000)])
    assert len(woken) == 3000
    assert min(woken) >= -RESOLUTION


@both
async def test_sleep_counts_from_the_first_wait() -> None:
    operation = tonio.sleep(0.02)
    await tonio.sleep(0.025)
    begun = monotonic()
    await operation
    assert monotonic() - begun >= 0.02


# --- timeout ----------------------------------------------------------------------------------


async def give(value: Any) -> Any:
    await tonio.yield_now()
    return value


@both
async def test_coroutine_that_ends_in_time() -> None:
    assert await time.timeout(give("value"), 10) == ("value", True)
    assert await time.timeout(give(None), 10) == (None, True)
    assert await time.timeout(give(1), float("inf")) == (1, True)
    assert await time.timeout(coro=give(1), timeout=5) == (1, True)


@both
async def test_operations_can_be_timed() -> None:
    event = tonio.Event()
    assert await time.timeout(event.wait(), 0.001) == (None, False)
    assert await time.timeout(tonio.sleep(0.001), 10) == (None, True)
    event.set()
    assert await time.timeout(event.wait(), 10) == (True, True)
    assert await time.timeout(tonio.spawn(give(1)), 10) == (1, True)
    assert await time.timeout(time.timeout(give(1), 10), 10) == ((1, True), True)


@both
async def test_coroutine_that_takes_too_long_has_ended() -> None:
    log = []

    async def inner() -> None:
        try:
            await tonio.sleep(1000)
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

    begun = monotonic()
    assert await time.timeout(outer(), 0.01) == (None, False)
    assert log == ["cancelled", "inner", "outer"]
    assert 0.01 <= monotonic() - begun < 5 * FACTOR


@both
async def test_error_passes_through() -> None:
    async def fail() -> None:
        await tonio.yield_now()
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        await time.timeout(fail(), 10)
    assert functions_in(caught.value)[-1] == "fail"


@both
async def test_error_in_clean_up_after_expiry_is_raised() -> None:
    async def child() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            raise OSError("in clean-up")

    with pytest.raises(OSError, match="in clean-up") as caught:
        await time.timeout(child(), 0.001)
    assert isinstance(caught.value.__context__, CancelledError)
    assert await give("goes on") == "goes on"


async def give_way() -> None:
    await tonio.yield_now()


@both
async def test_waiting_in_clean_up_after_expiry_is_cancelled_again() -> None:
    cancelled = 0

    async def child() -> None:
        nonlocal cancelled
        try:
            await tonio.sleep(1000)
        finally:
            for wait in (lambda: tonio.sleep(1000), tonio.Event().wait, give_way):
                try:
                    await wait()
                except CancelledError:
                    cancelled += 1

    assert await time.timeout(child(), 0.001) == (None, False)
    assert cancelled == 3


@both
async def test_no_time_at_all_lets_it_run_to_its_first_wait() -> None:
    log = []

    async def child() -> str:
        log.append("begun")
        await tonio.sleep(1000)
        return "never"

    async def instant() -> str:
        log.append("instant")
        event = tonio.Event()
        event.set()
        assert await event.wait()
        return "value"

    assert await time.timeout(child(), 0) == (None, False)
    assert await time.timeout(instant(), 0) == ("value", True)
    assert log == ["begun", "instant"]


@both
async def test_expiry_while_it_runs_strikes_at_the_next_wait() -> None:
    log = []

    async def child() -> None:
        end = monotonic() + 0.01
        while monotonic() < end:
            pass
        log.append("computed")
        await tonio.sleep(1000)
        log.append("never")

    assert await time.timeout(child(), 0.002) == (None, False)
    assert log == ["computed"]


@both
async def test_expiry_strikes_a_coroutine_that_only_gives_way() -> None:
    count = 0

    async def spin() -> None:
        nonlocal count
        while True:
            count += 1
            await tonio.yield_now()

    assert await time.timeout(spin(), 0.01) == (None, False)
    assert count > 1


@both
async def test_earlier_limit_wins_when_timeouts_nest() -> None:
    log = []

    async def inner(limit: float) -> str:
        try:
            log.append(await time.timeout(tonio.sleep(1000), limit))
        except CancelledError:
            log.append("cancelled from outside")
            raise
        return "ended"

    assert await time.timeout(inner(0.002), 1000) == ("ended", True)
    assert await time.timeout(inner(1000), 0.002) == (None, False)
    assert log == [(None, False), "cancelled from outside"]


@both
async def test_timeouts_nest_deeply() -> None:
    depth = 50
    ended = []

    async def level(number: int) -> None:
        try:
            if number == depth:
                await tonio.sleep(1000)
            await time.timeout(level(number + 1), 1000 - number)
        finally:
            ended.append(number)

    assert await time.timeout(level(0), 0.002) == (None, False)
    assert ended == list(range(depth, -1, -1))


@both
async def test_limits_that_expire_together() -> None:
    async def inner() -> Any:
        return await time.timeout(tonio.sleep(1000), 0.005)

    for _ in range(5):
        assert await time.timeout(inner(), 0.005) in {(None, False), ((None, False), True)}


@both
async def test_nothing_is_left_of_a_limit_that_was_kept() -> None:
    assert await time.timeout(give(1), 0.003) == (1, True)
    await tonio.sleep(0.006)
    assert await time.timeout(tonio.sleep(0.003), 10) == (None, True)
    assert await give(2) == 2


@both
async def test_limit_belongs_to_its_coroutine_not_to_what_that_spawns() -> None:
    event = tonio.Event()
    joins = []

    async def independent() -> str:
        await event.wait()
        return "value"

    async def child() -> None:
        joins.append(tonio.spawn(independent()))
        await tonio.sleep(1000)

    assert await time.timeout(child(), 0.002) == (None, False)
    event.set()
    assert await joins[0] == "value"


@both
async def test_many_limits_at_once() -> None:
    async def child(number: int) -> Any:
        return await time.timeout(tonio.sleep(0 if number % 2 else 1000), 0.005 + number % 7 / 1e3)

    results = await tonio.map(child, range(500))
    assert results == [(None, bool(number % 2)) for number in range(500)]


@both
async def test_expiry_races_with_completion() -> None:
    """Whatever wins: one result, the coroutine has ended, and the task goes on."""
    ended = 0

    async def child(delay: float) -> str:
        nonlocal ended
        try:
            await tonio.sleep(delay)
        finally:
            ended += 1
        return "value"

    for number in range(100):
        delay = 0.0001 * (number % 5)
        assert await time.timeout(child(delay), 0.0002) in {("value", True), (None, False)}
    assert ended == 100


@both
async def test_error_that_is_raised_on_cancellation_is_not_mistaken_for_expiry() -> None:
    """A CancelledError from elsewhere is no expiry."""

    async def child() -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        await time.timeout(child(), 1000)


# --- interval ---------------------------------------------------------------------------------


@both
async def test_first_tick_is_immediate_and_the_others_keep_their_distance() -> None:
    period = 0.01
    begun = time.time()
    interval = time.interval(period)
    ticks = []
    for _ in range(6):
        assert await interval.tick() is None
        ticks.append(time.time() - begun)
    assert ticks[0] < period
    for number, tick in enumerate(ticks):
        assert tick >= number * period - 1e-4


@both
async def test_ticks_do_not_drift() -> None:
    period = 0.01
    interval = time.interval(period)
    await interval.tick()
    begun = time.time()
    for _ in range(10):
        await tonio.sleep(0.003)
        await interval.tick()
    late = time.time() - begun - 10 * period
    assert -period < late < 2 * period  # 30 ms of work have not been added


@both
async def test_first_tick_at_a_given_time() -> None:
    at = time.time() + 0.02
    interval = time.interval(0.005, at)
    await interval.tick()
    assert time.time() >= at
    await interval.tick()
    assert time.time() >= at + 0.005
    interval = time.interval(period=0.005, at=time.time() + 0.01)
    assert await time.timeout(interval.tick(), 0.001) == (None, False)


@both
async def test_tick_that_is_due_returns_at_once_and_missed_ones_are_skipped() -> None:
    period = 0.02
    interval = time.interval(period)
    await interval.tick()
    begun = time.time()
    await tonio.sleep(3.5 * period)
    missed = time.time()
    await interval.tick()
    assert time.time() - missed < period / 2 * FACTOR  # due
    await interval.tick()
    following = time.time() - begun
    # On the grid of the first tick, one period after the last one that had passed, and no burst.
    assert following >= 4 * period - 0.005
    later = time.time()
    await interval.tick()
    assert time.time() - later > period / 4


@both
async def test_interval_in_the_past_is_due_at_once() -> None:
    interval = time.interval(1000, time.time() - 1)
    assert await time.timeout(interval.tick(), 10) == (None, True)
    assert await time.timeout(interval.tick(), 0.002) == (None, False)


@both
async def test_cancelled_tick_is_not_used_up() -> None:
    begun = time.time()
    interval = time.interval(0.2)
    await interval.tick()
    assert await time.timeout(interval.tick(), 0.002) == (None, False)
    await interval.tick()
    assert 0.15 < time.time() - begun < 0.4 + 0.5 * FACTOR


@both
async def test_tasks_share_the_ticks_of_an_interval() -> None:
    interval = time.interval(0.005)
    begun = time.time()

    async def worker() -> None:
        for _ in range(3):
            await interval.tick()

    await tonio.spawn(worker(), worker())
    # Six ticks, each for one of them; the first was due at once.
    assert time.time() - begun >= 5 * 0.005 - 0.002


def test_intervals_can_be_made_anywhere() -> None:
    interval = time.interval(0.001)
    assert tonio.run(interval.tick(), threads=1) is None
    assert tonio.run(interval.tick(), threads=2) is None
    assert in_thread(lambda: tonio.run(interval.tick(), threads=1)) is None
