"""`sync.Lock`: one task at a time, in the order in which they came."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import in_thread, waiting
from notation import both

import tonio.colored as tonio
from tonio.colored.sync import Lock
from tonio.exceptions import DeadlockError, WouldBlock


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await tonio.yield_now()


@both
async def test_critical_sections_do_not_overlap() -> None:
    lock = Lock()
    inside = most = total = 0

    async def count() -> None:
        nonlocal inside, most, total
        for _ in range(50):
            async with lock():
                inside += 1
                most = max(most, inside)
                total += 1
                await tonio.yield_now()
                inside -= 1

    await tonio.spawn(*[count() for _ in range(20)])
    assert (most, total, inside) == (1, 1000, 0)
    assert not lock.locked()


@both(notations=["await"])
async def test_async_with_the_lock_itself() -> None:
    lock = Lock()
    async with lock as nothing:
        assert nothing is None
        assert lock.locked()
    assert not lock.locked()
    async with lock() as nothing:
        assert nothing is None
        assert lock.locked()
    with pytest.raises(ZeroDivisionError):
        async with lock:
            raise ZeroDivisionError
    assert not lock.locked()


@both
async def test_acquire_and_release() -> None:
    lock = Lock()
    held = await lock.acquire()
    assert lock.locked()
    assert lock.release() is None
    assert not lock.locked()
    with pytest.raises(RuntimeError, match="released already"):
        held.release()
    with await lock.acquire() as held:
        assert lock.locked()
        held.release()
        assert not lock.locked()
        await lock.acquire()
    assert lock.locked()  # that of the block was released in it
    lock.release()


@both
async def test_lock_is_released_by_an_exception() -> None:
    lock = Lock()
    with pytest.raises(ZeroDivisionError):
        async with lock():
            raise ZeroDivisionError
    assert not lock.locked()


@both
async def test_or_raise() -> None:
    lock = Lock()
    with lock.or_raise():
        assert lock.locked()
        with pytest.raises(WouldBlock, match="would have to wait"):
            lock.or_raise()
        with pytest.raises(WouldBlock):
            lock.try_acquire()
    assert not lock.locked()
    assert lock.try_acquire() is True
    lock.release()


@both
async def test_waiters_are_served_in_order(threads: int) -> None:
    lock = Lock()
    order: list[int] = []

    async def worker(number: int, asked: tonio.Event) -> None:
        async with lock():
            order.append(number)
            await asked.wait()
            await tonio.yield_now()

    for _ in range(20):
        order.clear()
        asked = tonio.Event()
        await lock.acquire()
        joins = []
        for number in range(10):
            joins.append(tonio.spawn(worker(number, asked)))
            await until(lambda number=number: waiting(lock) > number)  # type: ignore[misc]
        lock.release()
        with pytest.raises(WouldBlock):  # it went to the first of them, whoever asks now
            lock.try_acquire()
        asked.set()
        for join in joins:
            await join
        assert order == list(range(10))


@both
async def test_release_hands_over_to_the_longest_waiting() -> None:
    """Who releases and asks again does not get it before those who waited."""
    lock = Lock()
    log: list[str] = []

    async def waiter() -> None:
        async with lock():
            log.append("waiter")

    await lock.acquire()
    join = tonio.spawn(waiter())
    await until(lambda: waiting(lock) == 1)
    lock.release()
    async with lock():
        log.append("again")
    await join
    assert log == ["waiter", "again"]


@both
async def test_acquire_times_out() -> None:
    lock = Lock()

    async def attempt(seconds: float) -> None:
        await lock.acquire(timeout=seconds)

    async with lock():
        for seconds in (0, 0.005):
            with pytest.raises(ExceptionGroup) as caught:
                await tonio.spawn(attempt(seconds))
            assert isinstance(caught.value.exceptions[0], TimeoutError)
        assert waiting(lock) == 0
    await attempt(0)
    assert lock.locked()


@both
async def test_cancelled_waiter_is_passed_over() -> None:
    lock = Lock()
    got: list[int] = []

    async def waiter(number: int) -> None:
        async with lock():
            got.append(number)

    await lock.acquire()
    joins = []
    for number in range(6):
        joins.append(tonio.spawn(waiter(number)))
        await until(lambda: waiting(lock) == len(joins))
    for number in (0, 2, 5):
        joins[number].cancel()
    await until(lambda: waiting(lock) == 3)
    lock.release()
    for number in (1, 3, 4):
        await joins[number]
    assert got == [1, 3, 4]
    for number in (0, 2, 5):
        with pytest.raises(tonio.exceptions.TaskCancelled):
            await joins[number]
    assert not lock.locked()


@both
async def test_hand_over_races_with_timeouts() -> None:
    lock = Lock()
    inside = got = 0
    missed: list[int] = []  # counting outside of the lock would be a race

    async def worker(number: int) -> None:
        nonlocal inside, got
        for turn in range(20):
            try:
                await lock.acquire(timeout=((number * 7 + turn) % 11) * 0.00002)
            except TimeoutError:
                missed.append(number)
                continue
            inside += 1
            assert inside == 1
            got += 1
            await tonio.yield_now()
            inside -= 1
            lock.release()

    await tonio.map(worker, range(30))
    assert got + len(missed) == 600
    assert not lock.locked()


@both
async def test_hand_over_races_with_cancellation() -> None:
    lock = Lock()
    inside = 0

    async def worker() -> None:
        nonlocal inside
        while True:
            async with lock():
                inside += 1
                assert inside == 1
                try:
                    await tonio.yield_now()
                finally:
                    inside -= 1

    for round_ in range(30):
        joins = [tonio.spawn(worker()) for _ in range(8)]
        await tonio.sleep(0.0001 * (round_ % 5))
        for join in joins:
            join.cancel()
        for join in joins:
            with pytest.raises(tonio.exceptions.TaskCancelled):
                await join
        assert not lock.locked()


@both
async def test_locking_twice_is_a_deadlock_that_is_told() -> None:
    lock = Lock()
    async with lock():
        with pytest.raises(DeadlockError, match="holds it already"):
            await lock()
        with pytest.raises(DeadlockError):
            await lock.acquire(timeout=1)

        async def helper() -> None:
            with pytest.raises(DeadlockError):
                await lock()

        await helper()  # a call, not a task
        assert lock.locked()
    assert not lock.locked()


@both
async def test_only_the_owner_releases() -> None:
    lock = Lock()
    with pytest.raises(RuntimeError, match="not locked"):
        lock.release()

    async def stranger() -> None:
        with pytest.raises(RuntimeError, match=r"another task, '.*test_only_the_owner_releases'"):
            lock.release()

    async with lock():
        await tonio.spawn(stranger())
        assert lock.locked()


@both
async def test_task_that_ended_is_not_taken_for_a_later_one() -> None:
    """The memory of tasks is used again: what one left locked is not another's."""
    lock = Lock()

    async def forgetful() -> None:
        await lock.acquire()

    async def later() -> bool:
        with pytest.raises(RuntimeError, match="forgetful"):
            lock.release()
        with pytest.raises(WouldBlock):
            lock.try_acquire()
        with pytest.raises(TimeoutError):
            await lock.acquire(timeout=0)
        return True

    await tonio.spawn(forgetful())
    for _ in range(50):
        assert await tonio.spawn(later())
    assert "forgetful" in repr(lock)


@both
async def test_operation_is_used_once() -> None:
    lock = Lock()
    operation = lock()
    with await operation:
        assert lock.locked()
    with pytest.raises(RuntimeError, match="already yielded or awaited"):
        await operation
    assert not lock.locked()


@both
async def test_block_of_the_wrong_kind_names_the_right_one() -> None:
    lock: Any = Lock()
    right = r"with \(yield lock\(\)\)"
    with pytest.raises(TypeError, match=right):
        with lock:
            pass
    with pytest.raises(TypeError, match=right):
        with lock():
            pass
    assert not lock.locked()
    held = await lock.acquire()
    with held:
        with pytest.raises(TypeError, match=right):
            with held:
                pass
    with pytest.raises(TypeError, match=right):
        with held:
            pass


@both(notations=["await"])
async def test_async_with_something_acquired_names_the_right_form() -> None:
    lock = Lock()
    held = lock.or_raise()
    with pytest.raises(TypeError, match=r"with lock.or_raise\(\)"):
        async with held:
            pass
    held.release()


@both
async def test_lock_that_was_never_waited_for_warns() -> None:
    with pytest.warns(RuntimeWarning, match=r"Lock.acquire\(\) was never"):
        Lock().acquire()


@both
async def test_acquiring_in_one_task_and_leaving_the_block_in_another() -> None:
    """A context manager gives back what it took, whoever runs it."""
    lock = Lock()
    held = await tonio.spawn(lock())
    assert lock.locked()
    with held:
        assert lock.locked()
    assert not lock.locked()


def test_lock_of_a_thread() -> None:
    lock = Lock()
    assert lock.try_acquire()
    with pytest.raises(WouldBlock):
        in_thread(lock.try_acquire)
    with pytest.raises(RuntimeError, match="held by another task, 'thread'"):
        in_thread(lock.release)
    lock.release()
    with lock.or_raise():
        assert lock.locked()
    assert not lock.locked()


@both
async def test_foreign_thread_hands_over_to_a_task() -> None:
    lock = Lock()
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.or_raise():
            taken.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(10)
    join = tonio.spawn(lock.acquire(timeout=10))
    await until(lambda: waiting(lock) == 1)
    release.set()
    held = await join
    assert lock.locked()
    held.release()
    thread.join()


@both
def test_lock_of_one_run_in_the_next(threads: int) -> None:
    lock = Lock()

    async def forget() -> None:
        await lock.acquire()

    async def find() -> None:
        with pytest.raises(RuntimeError, match="held by another task"):
            lock.release()
        with pytest.raises(TimeoutError):
            await lock.acquire(timeout=0.001)

    tonio.run(forget(), threads=threads)
    tonio.run(find(), threads=threads)


@both
async def test_repr_shows_the_state() -> None:
    lock = Lock()
    assert "free" in repr(lock)
    async with lock():
        assert "held by" in repr(lock)
        assert "test_repr_shows_the_state" in repr(lock)
        assert "0 waiting" in repr(lock)
        join = tonio.spawn(lock())
        await until(lambda: waiting(lock) == 1)
        assert join.cancel()
        with pytest.raises(tonio.exceptions.TaskCancelled):
            await join
    operation = lock()
    assert "not acquired" in repr(operation)
    await operation
    assert "Lock.acquire(), acquired" in repr(operation)
    lock.release()


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_bad_timeouts(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        Lock().acquire(timeout=timeout)
    with pytest.raises(ValueError, match="timeout"):
        Lock()(timeout)


def test_bad_arguments() -> None:
    lock: Any = Lock
    with pytest.raises(TypeError):
        lock(1)
    with pytest.raises(TypeError, match="timeout"):
        lock().acquire(timeout="1")
    with pytest.raises(TypeError, match="at most 1"):
        lock()(1, 2)
