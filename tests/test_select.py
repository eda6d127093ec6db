"""`select`: the first of several coroutines and operations; nothing is lost to the others."""

import gc
import socket as plain_socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any

import pytest
from kinds import FACTOR
from notation import both

import tonio.colored as tonio
from tonio.colored.net import socket
from tonio.exceptions import CancelledError, TaskCancelled


async def give(value: Any, delay: float = 0) -> Any:
    await tonio.sleep(delay)
    return value


async def fail(error: BaseException, delay: float = 0) -> None:
    await tonio.sleep(delay)
    raise error


async def hang(log: list[str], name: str = "loser") -> None:
    """Waits for its cancellation and says so."""
    try:
        await tonio.sleep(1000)
    except CancelledError:
        log.append(name)
        raise


async def fail_when_cancelled(message: str) -> None:
    try:
        await tonio.sleep(1000)
    finally:
        raise KeyError(message)


def messages(error: BaseExceptionGroup[Any]) -> list[str]:
    return sorted(map(str, error.exceptions))


def set_event() -> tonio.Event:
    event = tonio.Event()
    event.set()
    return event


@contextmanager
def pair() -> Iterator[tuple[Any, Any]]:
    """Two connected sockets: an ordinary one that does not wait, and one of ours."""
    ours, other = plain_socket.socketpair()
    other.setblocking(False)
    with other, socket.socket(fileno=ours.detach()) as sock:
        yield other, sock


# --- the winner -------------------------------------------------------------------------------


@both
async def test_value_of_the_first_to_end() -> None:
    assert await tonio.select(give("late", 10), give("early", 0.002), give("later", 20)) == "early"
    assert await tonio.select(give("only")) == "only"
    assert await tonio.select(give(None), tonio.sleep(1000)) is None


@both
async def test_error_of_the_first_to_end_comes_as_it_is() -> None:
    error = ValueError("mine")
    log: list[str] = []
    with pytest.raises(ValueError, match="mine") as caught:
        await tonio.select(fail(error, 0.002), hang(log))
    assert caught.value is error
    assert log == ["loser"]
    with pytest.raises(ValueError, match="alone"):
        await tonio.select(fail(ValueError("alone")))


@both
async def test_losers_have_ended_before_it_returns() -> None:
    log: list[str] = []

    async def nested() -> None:
        async with tonio.scope() as scope:
            scope.spawn(hang(log, "grandchild"))
            await hang(log, "nested")

    async def slow() -> None:
        try:
            await tonio.sleep(1000)
        finally:
            async with tonio.scope(shield=True):
                await tonio.sleep(0.005)
            log.append("slow")

    winner: Any = await tonio.select(hang(log, "loser"), nested(), slow(), give("value", 0.003))
    assert winner == "value"
    assert sorted(log) == ["grandchild", "loser", "nested", "slow"]


@both
async def test_value_of_a_loser_is_dropped() -> None:
    async def stubborn() -> str:
        try:
            await tonio.sleep(1000)
        except CancelledError:
            return "too late"
        return "never"

    assert await tonio.select(stubborn(), give("value", 0.002)) == "value"


@both
async def test_error_in_a_losers_clean_up_is_raised() -> None:
    with pytest.raises(KeyError, match="one"):
        await tonio.select(fail_when_cancelled("one"), give("value", 0.002))
    with pytest.raises(ExceptionGroup) as caught:
        await tonio.select(fail_when_cancelled("one"), fail_when_cancelled("two"), give(1, 0.002))
    assert messages(caught.value) == ["'one'", "'two'"]
    with pytest.raises(ExceptionGroup) as caught:
        await tonio.select(fail_when_cancelled("one"), fail(ValueError("winner"), 0.002))
    assert messages(caught.value) == ["'one'", "winner"]


@both
async def test_all_start_at_the_same_time() -> None:
    ping, pong = tonio.Event(), tonio.Event()

    async def one() -> str:
        ping.set()
        await tonio.sleep(1000)
        return "one"

    async def two() -> str:
        await ping.wait()
        pong.set()
        await tonio.sleep(1000)
        return "two"

    assert await tonio.select(one(), two(), pong.wait()) is True


@both
async def test_many_coroutines() -> None:
    log: list[str] = []
    assert await tonio.select(*[hang(log) for _ in range(500)], give("value", 0.01)) == "value"
    # those that had not begun are closed unstarted
    assert len(log) <= 500
    events = [tonio.Event() for _ in range(500)]
    tonio.spawn(give(None, 0.005), give(events[321].set(), 0))
    assert await tonio.select(*[event.wait() for event in events]) is True


@both
async def test_selects_nest() -> None:
    log: list[str] = []
    inner = tonio.select(hang(log, "inner"), give("value", 0.002))
    assert await tonio.select(hang(log, "outer"), inner) == "value"
    assert sorted(log) == ["inner", "outer"]
    log.clear()
    inner = tonio.select(hang(log, "one"), hang(log, "two"))
    assert await tonio.select(inner, give("value", 0.002)) == "value"
    assert sorted(log) == ["one", "two"]
    never = tonio.Event()
    assert await tonio.select(tonio.select(never.wait(), set_event().wait()), never.wait()) is True
    assert await tonio.select(tonio.select(never.wait()), tonio.select(give(7, 0.001))) == 7


# --- operations -------------------------------------------------------------------------------


@both
async def test_operations_are_tried_in_order() -> None:
    with pair() as (other, sock), pair() as (another, second):
        other.send(b"first")
        another.send(b"second")
        assert await tonio.select(sock.recv(10), second.recv(10)) == b"first"
        assert await second.recv(10) == b"second"
        assert await tonio.select(tonio.Event().wait(), set_event().wait()) is True


@both
async def test_coroutine_beside_a_ready_operation_is_closed_unstarted() -> None:
    started = []

    async def coroutine() -> None:
        started.append("coroutine")
        await tonio.yield_now()

    one, two = coroutine(), coroutine()
    operation = tonio.select(one, set_event().wait(), two)
    assert await operation is True
    assert started == []
    for coro in (one, two):
        with pytest.raises(RuntimeError):
            await coro
    del one, two, coro
    gc.collect()  # no "never awaited"


@both
async def test_operation_that_was_not_chosen_was_not_begun() -> None:
    """What another operation took is not taken from the losers, be it at once or later."""
    with pair() as (other, sock), pair() as (another, second):
        another.send(b"stays")
        assert await tonio.select(set_event().wait(), second.recv(100)) is True
        assert await second.recv(100) == b"stays"
        other.send(b"now")
        assert await tonio.select(tonio.sleep(1000), sock.recv(100)) == b"now"
        assert await tonio.select(sock.recv(100), give("value", 0.002)) == "value"
        other.send(b"later")
        assert await sock.recv(100) == b"later"


@both
async def test_operations_and_coroutines_that_wait() -> None:
    event = tonio.Event()
    log: list[str] = []
    tonio.spawn(give(None, 0), set_later(event))
    assert await tonio.select(event.wait(), hang(log), tonio.sleep(1000)) is True
    assert await tonio.select(tonio.Event().wait(), tonio.sleep(0.002), hang(log)) is None
    assert log == ["loser", "loser"]


async def set_later(event: tonio.Event) -> None:
    await tonio.sleep(0.003)
    event.set()


@both
async def test_timeouts_of_operations() -> None:
    event = tonio.Event()
    begun = monotonic()
    assert await tonio.select(event.wait(10), event.wait(0.01), event.wait(20)) is False
    assert 0.009 < monotonic() - begun < 5 * FACTOR
    assert await tonio.select(event.wait(), tonio.time.timeout(event.wait(), 0.002)) == (
        None,
        False,
    )


@both
async def test_joins_can_be_selected() -> None:
    """The join loses the waiter, but its task is not concerned."""
    gate = tonio.Event()
    slow = tonio.spawn(gate.wait())
    assert await tonio.select(slow, tonio.spawn(give("fast", 0.001))) == "fast"
    assert not slow.done()
    gate.set()
    assert await slow is True
    assert await tonio.select(tonio.sleep(1000), slow) is True
    failed = tonio.spawn(fail(ValueError("task")))
    with pytest.raises(ExceptionGroup):
        await tonio.select(failed, tonio.sleep(1000))
    cancelled = tonio.spawn(tonio.sleep(1000))
    cancelled.cancel()
    with pytest.raises(TaskCancelled):
        await tonio.select(cancelled, tonio.sleep(1000))


@both
async def test_blocking_jobs_can_be_selected() -> None:
    """A job that loses is interrupted and has ended."""
    started, log = tonio.Event(), []

    def job() -> None:
        try:
            started.set()
            while True:
                sleep(0.001)
        finally:
            log.append("ended")

    async def wait_for_the_job() -> None:
        await tonio.spawn_blocking(job)

    assert await tonio.select(wait_for_the_job(), started.wait()) is True
    assert log == ["ended"]
    assert await tonio.select(tonio.spawn_blocking(sum, [1, 2]), tonio.sleep(1000)) == 3


@both
async def test_intervals_can_be_selected() -> None:
    interval = tonio.time.interval(0.001)
    for _ in range(5):
        assert await tonio.select(interval.tick(), tonio.sleep(1000)) is None
    rare = tonio.time.interval(1000)
    await rare.tick()
    assert await tonio.select(rare.tick(), give("value", 0.001)) == "value"


# --- nothing is lost --------------------------------------------------------------------------


@both
async def test_no_byte_is_lost_to_an_operation_that_lost() -> None:
    count = 1500

    async def feed(plain: Any) -> None:
        sent = 0
        while sent < count:
            with suppress(BlockingIOError):
                sent += plain.send(b"x" * min(7, count - sent))
            await tonio.yield_now()
        plain.close()

    with pair() as (other, sock), pair() as (another, second):
        feeding = tonio.spawn(feed(other), feed(another))
        received = 0
        while data := await tonio.select(sock.recv(3), second.recv(3), tonio.sleep(1000)):
            received += len(data)
        for source in (sock, second):
            while data := await source.recv(100):
                received += len(data)
        await feeding
    assert received == 2 * count


@both
async def test_no_connection_is_lost_to_an_operation_that_lost() -> None:
    with socket.socket() as listener, socket.socket() as other:
        for sock in (listener, other):
            await sock.bind(("127.0.0.1", 0))
            sock.listen(512)

        async def connect(number: int) -> None:
            with socket.socket() as client:
                await client.connect((listener, other)[number % 2].getsockname())
                assert await client.recv(1) == b"!"

        clients = tonio.map(connect, range(40))
        served = 0
        while served < 40:
            chosen: Any = await tonio.select(listener.accept(), other.accept(), tonio.sleep(0.0002))
            if chosen is not None:
                with chosen[0] as server:
                    await server.sendall(b"!")
                served += 1
        await clients


@both
async def test_event_races_with_time() -> None:
    for round_ in range(100):
        event = tonio.Event()
        join = tonio.spawn(give_and_set(event, 0.0002))
        chosen = await tonio.select(event.wait(), give("late", 0.0002 + (round_ % 5) * 0.00002))
        assert chosen in (True, "late")
        await join
        assert await event.wait(0) is True


async def give_and_set(event: tonio.Event, delay: float) -> None:
    await tonio.sleep(delay)
    event.set()


@both
async def test_several_win_at_the_same_moment() -> None:
    """Whichever it is: one value, and the next wait is not disturbed by the others."""
    never = tonio.Event()
    for _ in range(100):
        event = tonio.Event()

        async def waiter(number: int, event: tonio.Event = event) -> int:
            await event.wait()
            return number

        join = tonio.spawn(give_and_set(event, 0.0001))
        chosen = await tonio.select(waiter(0), event.wait(), waiter(1), tonio.sleep(0.0001))
        assert chosen in (0, 1, True, None)
        begun = monotonic()
        assert await never.wait(0.0002) is False
        assert monotonic() - begun > 0.00015
        await join


# --- cancellation -----------------------------------------------------------------------------


@both
async def test_cancelled_select_ends_all() -> None:
    log: list[str] = []

    async def task() -> None:
        await tonio.select(hang(log, "one"), hang(log, "two"), tonio.sleep(1000))

    join = tonio.spawn(task())
    await tonio.sleep(0.003)
    join.cancel()
    with pytest.raises(TaskCancelled):
        await join
    assert sorted(log) == ["one", "two"]
    log.clear()
    event = tonio.Event()
    assert await tonio.time.timeout(
        tonio.select(hang(log, "one"), event.wait(), hang(log, "two")), 0.003
    ) == (None, False)
    assert sorted(log) == ["one", "two"]


@both
async def test_error_in_clean_up_of_a_cancelled_select_is_raised() -> None:
    with pytest.raises(KeyError, match="one"):
        await tonio.time.timeout(tonio.select(fail_when_cancelled("one"), tonio.sleep(1000)), 0.003)


@both
async def test_select_in_a_cancelled_scope() -> None:
    """What can be done at once is done; what would park is cancelled."""
    log: list[str] = []
    async with tonio.scope() as scope:
        scope.cancel()
        assert await tonio.select(tonio.sleep(1000), set_event().wait()) is True
        log.append("done at once")
        await tonio.select(tonio.sleep(1000), tonio.Event().wait())
        log.append("not reached")
    assert log == ["done at once"]
    assert scope.cancelled


# --- mistakes ---------------------------------------------------------------------------------


@both
async def test_select_of_nothing() -> None:
    with pytest.raises(ValueError):
        await tonio.select()


@both
@pytest.mark.parametrize("thing", [None, 1, "coroutine", give], ids=repr)
async def test_select_of_what_cannot_run(thing: Any) -> None:
    coro, event = give(1), tonio.Event()
    with pytest.raises(TypeError):
        await tonio.select(coro, event.wait(), thing)
    coro.close()
    assert await tonio.select(give(1)) == 1


@both
async def test_the_same_coroutine_or_operation_twice() -> None:
    coro = give(1)
    with pytest.raises(RuntimeError):
        await tonio.select(coro, coro)
    coro.close()
    wait = tonio.Event().wait()
    with pytest.raises(RuntimeError):
        await tonio.select(wait, wait)
    assert await tonio.select(give(2)) == 2


@both
async def test_operation_that_was_awaited_before() -> None:
    operation, other = set_event().wait(), tonio.sleep(0)
    assert await operation is True
    with pytest.raises(RuntimeError):
        await tonio.select(operation, other)
    assert await other is None  # it was not begun


@both
async def test_nothing_starts_before_it_is_awaited() -> None:
    started = []

    async def coroutine() -> str:
        started.append("coroutine")
        return "value"

    selection = tonio.select(coroutine(), tonio.sleep(1000))
    await tonio.sleep(0.002)
    assert started == []
    assert await selection == "value"
    with pytest.raises(RuntimeError):
        await selection
    unused = tonio.select(tonio.sleep(1))
    with pytest.warns(RuntimeWarning, match="never"):
        del unused
