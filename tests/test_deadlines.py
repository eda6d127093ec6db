"""Time limits: of scopes, `fail_after`, `timeout`; `sleep_until` and `sleep_forever`."""

import math
import threading
from time import monotonic
from typing import Any

import pytest
from kinds import FACTOR
from notation import both

import tonio.colored as tonio
from tonio.exceptions import CancelledError, TaskCancelled

LONG = 5.0 * FACTOR  # seconds that nothing here may take


async def give(value: Any, delay: float = 0) -> Any:
    await tonio.sleep(delay)
    return value


async def hang(log: list[str], name: str = "child") -> None:
    """Waits for its cancellation and says so."""
    try:
        await tonio.sleep(1000)
    except CancelledError:
        log.append(name)
        raise


# --- scopes -----------------------------------------------------------------------------------


@both
async def test_scope_expires() -> None:
    log: list[str] = []
    begun = monotonic()
    async with tonio.scope(timeout=LONG) as scope:
        assert scope.cancel_called is False
    async with tonio.scope(timeout=0.01) as scope:
        scope.spawn(hang(log))
        await hang(log, "body")
    assert 0.0095 < monotonic() - begun < LONG
    assert sorted(log) == ["body", "child"]
    assert scope.cancelled
    assert scope.cancel_called
    assert scope.cancel() is False


@both
async def test_deadline_is_a_time_of_the_clock() -> None:
    deadline = tonio.time.time() + 0.01
    async with tonio.scope(deadline=deadline) as scope:
        assert scope.deadline == pytest.approx(deadline, abs=2e-6)
        await tonio.sleep(1000)
    assert tonio.time.time() >= deadline - 1e-6
    assert scope.cancelled


@both
async def test_timeout_counts_from_entering() -> None:
    scope = tonio.scope(timeout=0.03)
    await tonio.sleep(0.035)
    begun = tonio.time.time()
    with scope:
        assert scope.deadline == pytest.approx(begun + 0.03, abs=0.02)
        await tonio.sleep(1000)
    await scope()
    assert tonio.time.time() - begun >= 0.0295


@both
async def test_scope_that_ends_in_time() -> None:
    for _ in range(200):
        async with tonio.scope(timeout=0.5) as scope:
            join = scope.spawn(give(1))
        assert await join == 1
        assert not scope.cancel_called
        assert not scope.cancelled
    await tonio.sleep(0.001)
    assert not scope.cancel_called


@both
async def test_limit_holds_for_the_children_after_the_block() -> None:
    log: list[str] = []
    begun = monotonic()
    with tonio.scope(timeout=0.01) as scope:
        scope.spawn(hang(log))
    assert not scope.cancel_called
    await scope()
    assert log == ["child"]
    assert scope.cancelled
    assert monotonic() - begun < LONG


@both
async def test_timeout_of_nothing_is_delivered_at_the_first_wait() -> None:
    log: list[str] = []
    for timeout in (0, 0.0, -0.0):
        async with tonio.scope(timeout=timeout) as scope:
            log.append("runs")
            await tonio.yield_now()
            log.append("never reached")
        assert scope.cancelled
    async with tonio.scope(deadline=tonio.time.time() - 10) as scope:
        log.append("runs")
        await tonio.sleep(1000)
    assert scope.cancelled
    async with tonio.scope(deadline=0) as scope:
        event = tonio.Event()
        event.set()
        assert await event.wait() is True  # what can finish at once finishes
        await tonio.sleep(1000)
    assert log == ["runs"] * 4


@both
async def test_no_limit() -> None:
    for limit in (
        {"timeout": None},
        {"timeout": math.inf},
        {"deadline": math.inf},
        {"timeout": 1e18},
        {"deadline": 1e18},
    ):
        async with tonio.scope(**limit) as scope:
            await tonio.sleep(0.001)
        assert not scope.cancel_called


@both
async def test_deadline_can_be_moved() -> None:
    async with tonio.scope(timeout=0.01) as scope:
        scope.deadline += 1000
        await tonio.sleep(0.02)
        assert not scope.cancel_called
        scope.deadline = math.inf
        assert scope.deadline == math.inf
        await tonio.sleep(0.002)
        scope.deadline = tonio.time.time() + 0.005
        await tonio.sleep(1000)
    assert scope.cancelled
    async with tonio.scope(timeout=1000) as scope:
        begun = monotonic()
        scope.deadline = tonio.time.time() + 0.005
        await tonio.sleep(1000)
    assert scope.cancelled
    assert monotonic() - begun < LONG


@both
async def test_deadline_in_the_past_cancels_at_once() -> None:
    log: list[str] = []
    async with tonio.scope() as scope:
        scope.spawn(hang(log))
        await tonio.sleep(0.001)
        scope.deadline = tonio.time.time() - 1
        assert scope.cancel_called
        await hang(log, "body")
    assert sorted(log) == ["body", "child"]


@both
async def test_deadline_after_the_cancellation_changes_nothing() -> None:
    async with tonio.scope() as scope:
        scope.cancel()
        scope.deadline = math.inf
        assert scope.cancel_called
        await tonio.sleep(1000)
    assert scope.cancelled
    scope.deadline = tonio.time.time() - 1  # it has ended
    async with tonio.scope() as ended:
        pass
    ended.deadline = tonio.time.time() - 1
    assert not ended.cancelled


@both
async def test_deadline_set_before_entering() -> None:
    scope = tonio.scope()
    scope.deadline = tonio.time.time() + 0.005
    with scope:
        await tonio.sleep(1000)
    await scope()
    assert scope.cancelled
    again = tonio.scope(timeout=0.001)
    again.deadline = math.inf
    with again:
        await tonio.sleep(0.005)
    await again()
    assert not again.cancel_called


@both
async def test_deadline_set_by_another_thread() -> None:
    def set_soon(scope: Any) -> None:
        scope.deadline = tonio.time.time() + 0.005

    for how in ("thread", "job", "child"):
        async with tonio.scope() as scope:
            if how == "thread":
                thread = threading.Thread(target=set_soon, args=(scope,))
                thread.start()
            elif how == "job":
                tonio.spawn_blocking(set_soon, scope)
            else:
                scope.spawn(give(set_soon(scope)))
            await tonio.sleep(1000)
        assert scope.cancelled
    thread.join()


@both
async def test_deadline_moved_by_many_threads_at_once() -> None:
    """A race among them and with the expiry: it ends, once, and not before the time of the last."""

    def move(scope: Any) -> None:
        for number in range(200):
            scope.deadline = tonio.time.time() + (0.01 if number % 2 else 1000)

    for _ in range(3):
        async with tonio.scope() as scope:
            threads = [threading.Thread(target=move, args=(scope,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            await tonio.sleep(1000)
        assert scope.cancelled
        for thread in threads:
            thread.join()


@both
async def test_earlier_limit_wins_when_scopes_nest() -> None:
    begun = monotonic()
    async with tonio.scope(timeout=0.01) as outer:
        async with tonio.scope(timeout=1000) as inner:
            await tonio.sleep(1000)
    assert outer.cancelled
    assert not inner.cancelled
    async with tonio.scope(timeout=1000) as outer:
        async with tonio.scope(timeout=0.01) as inner:
            await tonio.sleep(1000)
        await tonio.sleep(0.001)
    assert inner.cancelled
    assert not outer.cancel_called
    assert monotonic() - begun < LONG


@both
async def test_shield_holds_off_limits_from_outside_but_not_its_own() -> None:
    log: list[str] = []
    begun = monotonic()
    async with tonio.scope(timeout=0.005) as outer:
        async with tonio.scope(timeout=0.02, shield=True) as inner:
            await tonio.sleep(1000)
        log.append("own limit")
        await tonio.sleep(1000)
        log.append("never reached")
    assert log == ["own limit"]
    assert monotonic() - begun > 0.0195
    assert inner.cancelled
    assert outer.cancelled


@both
async def test_many_scopes_with_limits() -> None:
    async def limited(number: int) -> bool:
        async with tonio.scope(timeout=0.0005 * (number % 20)) as scope:
            scope.spawn(tonio.sleep(1000))
            await tonio.sleep(1000)
        return bool(scope.cancelled)

    begun = monotonic()
    assert await tonio.map(limited, range(1000)) == [True] * 1000
    assert monotonic() - begun < LONG


@both
async def test_expiry_races_with_the_end() -> None:
    """Its limit and its body end together: never an error, never a cancellation that leaks."""
    for number in range(300):
        async with tonio.scope(timeout=0.0002) as scope:
            scope.spawn(give(None, 0.0001 + number % 10 * 0.00002))
            await tonio.sleep(0.0001 + number % 10 * 0.00002)
        assert scope.cancel_called or not scope.cancelled
        await tonio.yield_now()  # not cancelled: the scope is over


# --- fail_after -------------------------------------------------------------------------------


@both
async def test_fail_after_raises_when_it_cuts_the_body_off() -> None:
    log: list[str] = []
    begun = monotonic()
    with pytest.raises(TimeoutError):
        with tonio.time.fail_after(0.01):
            await hang(log, "body")
    assert log == ["body"]
    assert 0.0095 < monotonic() - begun < LONG
    await tonio.yield_now()


@both(notations=("await",))
async def test_fail_after_with_async_with() -> None:
    log: list[str] = []
    with pytest.raises(TimeoutError):
        async with tonio.time.fail_after(0.01) as scope:
            scope.spawn(hang(log))
            await hang(log, "body")
    assert sorted(log) == ["body", "child"]
    async with tonio.time.fail_after(10) as scope:
        assert await scope.spawn(give(5)) == 5
    assert not scope.cancel_called


@both
async def test_fail_after_that_is_kept() -> None:
    with tonio.time.fail_after(10) as scope:
        assert await scope.spawn(give(1)) == 1
    await scope()
    assert not scope.cancel_called
    with tonio.time.fail_after(math.inf):
        await tonio.sleep(0.001)


@both
async def test_fail_after_no_time() -> None:
    with pytest.raises(TimeoutError):
        with tonio.time.fail_after(0):
            await tonio.sleep(1000)
    with tonio.time.fail_after(0) as scope:
        pass  # never waited, so nothing was cut off
    assert scope.cancel_called


@both
async def test_fail_after_is_not_mistaken_for_another_cancellation() -> None:
    with tonio.time.fail_after(1000) as scope:
        scope.cancel()
        await tonio.sleep(1000)
    await scope()
    assert scope.cancelled
    async with tonio.scope() as outer:
        with tonio.time.fail_after(1000):
            outer.cancel()
            await tonio.sleep(1000)
    assert outer.cancelled


@both
async def test_error_of_the_body_comes_instead_of_the_timeout() -> None:
    with pytest.raises(KeyError):
        with tonio.time.fail_after(0.003):
            try:
                await tonio.sleep(1000)
            finally:
                raise KeyError("clean-up")


@both
async def test_inner_and_outer_fail_after() -> None:
    with pytest.raises(TimeoutError):
        with tonio.time.fail_after(1000) as outer:
            with tonio.time.fail_after(0.003):
                await tonio.sleep(1000)
    assert not outer.cancelled
    reached = []
    with pytest.raises(TimeoutError):
        with tonio.time.fail_after(0.003):
            try:
                with tonio.time.fail_after(1000):
                    await tonio.sleep(1000)
            except TimeoutError:
                reached.append("the inner one has not expired")
    assert reached == []


@both
async def test_fail_after_with_children_that_outlast_the_body() -> None:
    """The limit holds for them; the body was not cut off."""
    log: list[str] = []
    with tonio.time.fail_after(0.01) as scope:
        scope.spawn(hang(log))
    try:
        await scope()
    except TimeoutError:
        log.append("told")
    assert log in (["child"], ["child", "told"])
    assert scope.cancelled


@both
@pytest.mark.parametrize("wrong", [math.nan, -1, "1", None], ids=repr)
async def test_wrong_limit_is_named(wrong: Any) -> None:
    if wrong is None:
        with tonio.time.fail_after(None):  # no limit, as everywhere
            await tonio.yield_now()
        return
    with pytest.raises((ValueError, TypeError), match="timeout"):
        tonio.time.fail_after(wrong)


# --- timeout ----------------------------------------------------------------------------------


@both
async def test_outer_timeout_wins_when_it_is_earlier() -> None:
    log: list[str] = []

    async def inner() -> None:
        result: Any = await tonio.time.timeout(hang(log, "coroutine"), 1000)
        log.append(f"never reached {result}")

    begun = monotonic()
    assert await tonio.time.timeout(inner(), 0.005) == (None, False)
    assert log == ["coroutine"]
    assert monotonic() - begun < LONG


@both
async def test_timeout_and_scope_limit_each_other() -> None:
    async with tonio.scope(timeout=0.005) as scope:
        await tonio.time.timeout(tonio.sleep(1000), 1000)
    assert scope.cancelled

    async def scoped() -> bool:
        async with tonio.scope(timeout=0.003) as inner:
            await tonio.sleep(1000)
        return bool(inner.cancelled)

    assert await tonio.time.timeout(scoped(), 1000) == (True, True)

    async def long_scope() -> None:
        async with tonio.scope(timeout=1000) as inner:
            inner.spawn(tonio.sleep(1000))

    assert await tonio.time.timeout(long_scope(), 0.003) == (None, False)


@both
async def test_shielded_clean_up_after_a_timeout() -> None:
    log: list[str] = []

    async def careful() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            async with tonio.scope(shield=True):
                await tonio.sleep(0.005)
                log.append("cleaned up")

    assert await tonio.time.timeout(careful(), 0.003) == (None, False)
    assert log == ["cleaned up"]


@both
async def test_errors_of_a_scope_inside_a_timeout() -> None:
    async def failing() -> None:
        async with tonio.scope() as scope:
            scope.spawn(fail_when_cancelled())
            await tonio.sleep(1000)

    with pytest.raises(ExceptionGroup) as caught:
        await tonio.time.timeout(failing(), 0.003)
    error: BaseException = caught.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert str(error) == "'clean-up'"


async def fail_when_cancelled() -> None:
    try:
        await tonio.sleep(1000)
    finally:
        raise KeyError("clean-up")


# --- sleep_until and sleep_forever ------------------------------------------------------------


@both
async def test_sleep_until() -> None:
    moment = tonio.time.time() + 0.01
    assert await tonio.time.sleep_until(moment) is None
    assert moment <= tonio.time.time() + 1e-6 < moment + LONG
    await tonio.time.sleep_until(moment)  # it has passed
    await tonio.time.sleep_until(0)
    await tonio.time.sleep_until(tonio.time.time() - 5)


@both
async def test_sleep_until_a_moment_that_never_comes() -> None:
    assert await tonio.time.timeout(tonio.time.sleep_until(math.inf), 0.003) == (None, False)
    with pytest.raises(ValueError):
        await tonio.time.sleep_until(math.nan)
    with pytest.raises(TypeError):
        await tonio.time.sleep_until("tomorrow")  # type: ignore[arg-type]


@both
async def test_sleep_until_ends_together_for_all() -> None:
    moment = tonio.time.time() + 0.01
    waits = [tonio.time.sleep_until(moment) for _ in range(100)]
    await tonio.spawn(*waits)
    assert moment <= tonio.time.time() + 1e-6 < moment + LONG


@both
async def test_sleep_forever_ends_by_cancellation() -> None:
    assert await tonio.time.timeout(tonio.time.sleep_forever(), 0.003) == (None, False)
    join = tonio.spawn(tonio.time.sleep_forever())
    await tonio.sleep(0.002)
    assert not join.done()
    join.cancel()
    with pytest.raises(TaskCancelled):
        await join
    async with tonio.scope(timeout=0.003) as scope:
        await tonio.time.sleep_forever()
    assert scope.cancelled
