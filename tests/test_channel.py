"""`sync.channel`: messages from many to many, none lost, none twice."""

import gc
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from helpers import in_thread
from notation import both

import tonio.colored as tonio
from tonio.colored.sync.channel import Receiver, Sender, channel, unbounded
from tonio.exceptions import (
    EndOfChannel,
    ResourceBroken,
    ResourceClosed,
    TaskCancelled,
    WouldBlock,
)

SIZES = (0, 1, 3, 100)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await tonio.yield_now()


class Message:
    """Something that can be seen to go."""


# --- sending and receiving ----------------------------------------------------------------------


@both
@pytest.mark.parametrize("size", SIZES)
async def test_messages_arrive_in_order(size: int) -> None:
    sender, receiver = channel(size)

    async def produce() -> None:
        for number in range(500):
            assert await sender.send(number) is None
        sender.close()

    join = tonio.spawn(produce())
    for number in range(500):
        assert await receiver.receive() == number
    with pytest.raises(EndOfChannel):
        await receiver.receive()
    await join


@both
@pytest.mark.parametrize("size", SIZES)
async def test_many_producers_and_consumers(size: int) -> None:
    """Every message arrives once, and those of one producer in order."""
    sender, receiver = channel(size)

    async def produce(producer: int) -> None:
        for number in range(100):
            await sender.send((producer, number))

    async def consume() -> list[tuple[int, int]]:
        got: list[tuple[int, int]] = []
        while True:
            try:
                got.append(await receiver.receive())
            except EndOfChannel:
                return got

    consumers = tonio.spawn(*[consume() for _ in range(5)])
    await tonio.map(produce, range(8))
    sender.close()
    results = await consumers
    assert sorted(itertools.chain(*results)) == [(p, n) for p in range(8) for n in range(100)]
    for got in results:
        for producer in range(8):
            numbers = [number for p, number in got if p == producer]
            assert numbers == sorted(numbers)


@both
async def test_sender_waits_for_room() -> None:
    sender, receiver = channel(2)
    await sender.send(1)
    await sender.send(2)
    joins = []
    for number in (3, 4):
        joins.append(tonio.spawn(sender.send(number)))
        await until(lambda: receiver.statistics().waiting_senders == len(joins))
    assert len(sender) == len(receiver) == 2
    assert await receiver.receive() == 1
    assert receiver.statistics().waiting_senders == 1
    assert len(receiver) == 2  # the first that waited moved up
    assert [receiver.receive_nowait() for _ in range(3)] == [2, 3, 4]
    for join in joins:
        await join
    assert len(receiver) == 0


@both
async def test_rendezvous() -> None:
    sender, receiver = channel(0)
    with pytest.raises(WouldBlock, match="full"):
        sender.send_nowait(1)
    log: list[str] = []

    async def produce() -> None:
        await sender.send("message")
        log.append("sent")

    join = tonio.spawn(produce())
    await until(lambda: sender.statistics().waiting_senders == 1)
    assert len(sender) == 0
    assert log == []
    assert receiver.receive_nowait() == "message"
    await join
    assert log == ["sent"]

    taking = tonio.spawn(receiver.receive())
    await until(lambda: sender.statistics().waiting_receivers == 1)
    sender.send_nowait("at once")
    assert await taking == "at once"


@both
async def test_unbounded_channel_never_waits() -> None:
    sender, receiver = unbounded()
    for number in range(5000):
        assert sender.send(number) is None
    assert len(receiver) == 5000
    for number in range(5000):
        assert await receiver.receive() == number
    for number in range(40):
        sender.send_nowait(number)
        sender.send(number)
        assert await receiver.receive() == number // 2
    sender.close()
    assert [receiver.receive_nowait() for _ in range(40)] == [n // 2 for n in range(40, 80)]
    with pytest.raises(EndOfChannel):
        receiver.receive_nowait()


@both
async def test_ring_grows_and_turns() -> None:
    sender, receiver = channel(10_000)
    sent = received = 0
    for chunk in (3, 20, 50, 400, 1500, 7, 3000):
        for _ in range(chunk):
            sender.send_nowait(sent)
            sent += 1
        for _ in range(chunk * 2 // 3):
            assert receiver.receive_nowait() == received
            received += 1
    while received < sent:
        assert await receiver.receive() == received
        received += 1
    assert len(receiver) == 0


@both
async def test_receivers_are_served_in_order() -> None:
    sender, receiver = channel(1)
    joins = []
    for _ in range(5):
        joins.append(tonio.spawn(receiver.receive()))
        await until(lambda: sender.statistics().waiting_receivers == len(joins))
    for number in range(5):
        sender.send_nowait(number)
    for number, join in enumerate(joins):
        assert await join == number


@both
async def test_without_waiting() -> None:
    sender, receiver = channel(1)
    with pytest.raises(WouldBlock, match="empty"):
        receiver.receive_nowait()
    assert sender.send_nowait(None) is None
    with pytest.raises(WouldBlock, match="full"):
        sender.send_nowait(1)
    assert receiver.receive_nowait() is None


@both
async def test_any_object_is_a_message() -> None:
    sender, receiver = channel(8)
    messages: list[Any] = [None, (), StopIteration(1), ValueError(2), int, sender, object()]
    for message in messages:
        await sender.send(message)
    for message in messages:
        assert await receiver.receive() is message


# --- iterating ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("size", SIZES)
async def test_iteration_ends_with_the_channel(size: int) -> None:
    sender, receiver = channel(size)

    async def produce() -> None:
        with sender:
            for number in range(50):
                await sender.send(number)

    join = tonio.spawn(produce())
    got = []
    async for message in receiver:
        got.append(message)
    assert got == list(range(50))
    await join
    async for message in receiver:
        got.append(message)
    assert len(got) == 50


@both
async def test_iteration_that_waits_when_the_channel_ends() -> None:
    sender, receiver = channel(1)

    async def consume() -> list[int]:
        got = []
        async for message in receiver:
            got.append(message)
        return got

    joins = [tonio.spawn(consume()) for _ in range(3)]
    await until(lambda: sender.statistics().waiting_receivers == 3)
    sender.send_nowait(1)
    sender.close()
    got = []
    for join in joins:
        got.append(await join)
    assert sorted(got) == [[], [], [1]]


def test_plain_iteration() -> None:
    from contextlib import suppress

    import tonio

    def program() -> Any:
        sender, receiver = channel(10)
        for number in range(3):
            sender.send_nowait(number)
        got = []
        with suppress(EndOfChannel):
            for operation in receiver:
                got.append((yield operation))
                if got == [0, 1, 2]:
                    tonio.spawn(close_later(sender))
        assert list(receiver) == []
        return got

    def close_later(sender: Sender[int]) -> Any:
        yield tonio.sleep(0.002)
        sender.close()

    assert tonio.run(program()) == [0, 1, 2]


@both
async def test_iteration_with_a_closed_handle() -> None:
    _, receiver = channel(1)
    receiver.close()
    with pytest.raises(ResourceClosed):
        async for _ in receiver:
            pass


# --- closing ------------------------------------------------------------------------------------


@both
async def test_accepted_messages_are_delivered_after_the_last_sender_closed() -> None:
    sender, receiver = channel(3)
    for number in range(3):
        await sender.send(number)
    sender.close()
    sender.close()
    with pytest.raises(ResourceClosed):
        await sender.send(3)
    with pytest.raises(ResourceClosed):
        sender.send_nowait(3)
    for number in range(3):
        assert await receiver.receive() == number
    for _ in range(2):
        with pytest.raises(EndOfChannel):
            await receiver.receive()
    with pytest.raises(EndOfChannel):
        receiver.receive_nowait()


@both
async def test_waiting_receivers_learn_of_the_end() -> None:
    sender, receiver = channel(1)

    async def consume() -> None:
        with pytest.raises(EndOfChannel, match="no sender is left"):
            await receiver.receive()

    join = tonio.spawn(*[consume() for _ in range(4)])
    await until(lambda: sender.statistics().waiting_receivers == 4)
    sender.close()
    await join


@both
@pytest.mark.parametrize("size", [0, 1])
async def test_waiting_senders_of_a_closed_handle_get_an_error(size: int) -> None:
    """What they wanted to send was not accepted; others go on."""
    sender, receiver = channel(size)
    other = sender.clone()
    if size:
        sender.send_nowait("accepted")

    async def send(message: str) -> None:
        with pytest.raises(ResourceClosed, match="this end"):
            await sender.send(message)

    lost = tonio.spawn(send("lost"), send("lost, too"))
    await until(lambda: sender.statistics().waiting_senders == 2)
    kept = tonio.spawn(other.send("kept"))
    await until(lambda: sender.statistics().waiting_senders == 3)
    sender.close()
    await lost
    assert receiver.statistics().waiting_senders == 1
    if size:
        assert await receiver.receive() == "accepted"
    assert await receiver.receive() == "kept"
    await kept
    other.close()
    with pytest.raises(EndOfChannel):
        await receiver.receive()


@both
@pytest.mark.parametrize("size", [0, 2])
async def test_senders_learn_that_no_receiver_is_left(size: int) -> None:
    sender, receiver = channel(size)
    messages = [Message() for _ in range(size)]
    alive = [weakref.ref(message) for message in messages]
    for message in messages:
        sender.send_nowait(message)

    async def send() -> None:
        with pytest.raises(ResourceBroken, match="no receiver"):
            await sender.send("waits")

    join = tonio.spawn(send(), send(), send())
    await until(lambda: sender.statistics().waiting_senders == 3)
    receiver.close()
    await join
    with pytest.raises(ResourceBroken, match="no receiver"):
        await sender.send(1)
    with pytest.raises(ResourceBroken):
        sender.send_nowait(1)
    messages.clear()
    message = None  # type: ignore[assignment]
    assert len(sender) == 0
    # a last reference that another thread drops is counted when this one next looks
    await until(lambda: [reference() for reference in alive] == [None] * size)


@both
async def test_receiver_that_is_closed_under_who_waits() -> None:
    sender, receiver = channel(1)
    other = receiver.clone()

    async def consume() -> None:
        with pytest.raises(ResourceClosed):
            await receiver.receive()

    join = tonio.spawn(consume())
    await until(lambda: sender.statistics().waiting_receivers == 1)
    rest = tonio.spawn(other.receive())
    await until(lambda: sender.statistics().waiting_receivers == 2)
    receiver.close()
    await join
    with pytest.raises(ResourceClosed):
        await receiver.receive()
    with pytest.raises(ResourceClosed):
        receiver.receive_nowait()
    sender.send_nowait("to the other")
    assert await rest == "to the other"


@both
async def test_clones_are_counted() -> None:
    sender, receiver = channel(4)
    senders = [sender.clone() for _ in range(3)]
    receivers = [receiver.clone() for _ in range(2)]
    assert sender.statistics().senders == 4
    assert sender.statistics().receivers == 3
    for end in (sender, *senders[:2], receiver, receivers[0]):
        end.close()
    senders[2].send_nowait(1)
    assert await receivers[1].receive() == 1
    with pytest.raises(ResourceClosed):
        sender.clone()
    with pytest.raises(ResourceClosed):
        receiver.clone()
    senders[2].close()
    with pytest.raises(EndOfChannel):
        await receivers[1].receive()


@both
async def test_ends_are_context_managers() -> None:
    sender, receiver = channel(1)
    with receiver as same:
        assert same is receiver
        with sender:
            sender.send_nowait(1)
        assert await receiver.receive() == 1
        with pytest.raises(EndOfChannel):
            await receiver.receive()
    with pytest.raises(ResourceClosed):
        await receiver.receive()


@both(notations=["await"])
async def test_async_with_names_the_right_form() -> None:
    sender, receiver = channel(1)
    end: Any
    for end in (sender, receiver, unbounded()[0]):
        with pytest.raises(TypeError, match="'with sender:'"):
            async with end:
                pass


@both
async def test_handle_that_is_dropped_is_closed() -> None:
    sender, receiver = channel(1)
    join = tonio.spawn(receiver.receive())
    await until(lambda: sender.statistics().waiting_receivers == 1)
    del sender
    with pytest.raises(ExceptionGroup) as caught:
        await join
    assert isinstance(caught.value.exceptions[0], EndOfChannel)

    sender, receiver = channel(1)
    del receiver
    with pytest.raises(ResourceBroken):
        await sender.send(1)


def test_channel_that_holds_its_own_end_is_collected() -> None:
    sender, receiver = channel(2)
    message = Message()
    gone = weakref.ref(message)
    sender.send_nowait((sender, receiver, message))
    del sender, receiver, message
    gc.collect()
    assert gone() is None


def test_messages_go_with_the_channel() -> None:
    sender, receiver = unbounded()
    messages = [Message() for _ in range(100)]
    alive = [weakref.ref(message) for message in messages]
    for message in messages:
        sender.send(message)
    del message
    messages.clear()
    del receiver, sender
    gc.collect()
    assert [reference for reference in alive if reference() is not None] == []


@both
async def test_message_that_closes_the_channel_when_it_is_dropped() -> None:
    """Python code runs under no lock of the channel."""

    class Closing:
        def __init__(self, end: Sender[Any]) -> None:
            self.end = end

        def __del__(self) -> None:
            self.end.close()
            assert self.end.statistics().receivers == 0

    sender, receiver = channel(5)
    for _ in range(5):
        sender.send_nowait(Closing(sender))
    receiver.close()
    with pytest.raises(ResourceClosed):
        sender.send_nowait(1)


# --- cancellation -------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("size", [0, 1])
async def test_cancelled_sender_has_sent_nothing(size: int) -> None:
    sender, receiver = channel(size)
    if size:
        sender.send_nowait("first")
    join = tonio.spawn(sender.send("cancelled"))
    await until(lambda: sender.statistics().waiting_senders == 1)
    last = tonio.spawn(sender.send("last"))
    await until(lambda: sender.statistics().waiting_senders == 2)
    join.cancel()
    with pytest.raises(TaskCancelled):
        await join
    if size:
        assert await receiver.receive() == "first"
    assert await receiver.receive() == "last"
    await last
    assert len(receiver) == 0


@both
async def test_message_for_a_cancelled_receiver_goes_to_the_next() -> None:
    sender, receiver = channel(1)
    joins = []
    for _ in range(3):
        joins.append(tonio.spawn(receiver.receive()))
        await until(lambda: sender.statistics().waiting_receivers == len(joins))
    joins[0].cancel()
    sender.send_nowait("message")
    assert await joins[1] == "message"
    joins[2].cancel()
    sender.send_nowait("kept")
    for number in (0, 2):
        with pytest.raises(TaskCancelled):
            await joins[number]
    assert receiver.receive_nowait() == "kept"


@both
async def test_time_limits() -> None:
    sender, receiver = channel(1)
    for seconds in (0, 0.005):
        with pytest.raises(TimeoutError):
            await receiver.receive(timeout=seconds)
    await sender.send(1, timeout=0)
    for seconds in (0, 0.005):
        with pytest.raises(TimeoutError):
            await sender.send(2, timeout=seconds)
    assert await receiver.receive(timeout=0) == 1
    assert len(receiver) == 0
    assert await tonio.time.timeout(receiver.receive(), 0.002) == (None, False)


@both
@pytest.mark.parametrize("size", [0, 1, 4])
async def test_nothing_is_lost_in_races_with_timeouts(size: int) -> None:
    sender, receiver = channel(size)
    sent: list[set[int]] = [set() for _ in range(8)]
    received: list[list[int]] = [[] for _ in range(8)]

    async def produce(producer: int) -> None:
        for turn in range(60):
            number = producer * 1000 + turn
            try:
                await sender.send(number, timeout=((number * 7) % 5) * 0.00003)
            except TimeoutError:
                continue
            sent[producer].add(number)

    async def consume(consumer: int) -> None:
        turn = consumer
        while True:
            turn += 1
            try:
                received[consumer].append(await receiver.receive(timeout=(turn % 4) * 0.00003))
            except TimeoutError:
                await tonio.yield_now()
            except EndOfChannel:
                return

    consumers = tonio.map(consume, range(8))
    await tonio.map(produce, range(8))
    sender.close()
    await consumers
    assert sorted(itertools.chain(*received)) == sorted(set().union(*sent))


# --- what one can see ---------------------------------------------------------------------------


@both
async def test_statistics() -> None:
    sender, receiver = channel(2)
    sender.send_nowait(1)
    statistics = sender.statistics()
    assert statistics == receiver.statistics() == (1, 2, 1, 1, 0, 0)
    assert statistics.queued == 1
    assert statistics.size == 2
    assert statistics.senders == 1
    assert statistics.receivers == 1
    assert "queued=1" in repr(statistics)
    assert unbounded()[0].statistics().size is None


def test_length_and_truth() -> None:
    sender, receiver = channel(2)
    assert bool(sender)
    assert bool(receiver)
    assert len(sender) == 0
    sender.send_nowait(1)
    assert len(sender) == len(receiver) == 1


@both
async def test_repr_shows_the_state() -> None:
    sender, receiver = channel(2)
    sender.send_nowait(1)
    assert "Sender" in repr(sender)
    assert "1 of 2 queued, 1 senders (0 waiting), 1 receivers (0 waiting)" in repr(sender)
    assert "Receiver" in repr(receiver)
    receiver.close()
    assert "closed" in repr(receiver)
    assert "any number" in repr(unbounded())


# --- threads ------------------------------------------------------------------------------------


def test_channel_between_threads_without_a_runtime() -> None:
    sender, receiver = unbounded()
    in_thread(lambda: sender.send("from a thread"))
    assert in_thread(receiver.receive_nowait) == "from a thread"


@both
async def test_thread_sends_to_a_task() -> None:
    sender, receiver = unbounded()

    def produce() -> None:
        with sender:
            for number in range(1000):
                sender.send(number)

    thread = threading.Thread(target=produce)
    thread.start()
    got = []
    async for number in receiver:
        got.append(number)
    thread.join()
    assert got == list(range(1000))


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "error"),
    [(-1, ValueError), (-(2**70), ValueError), (2**70, ValueError)]
    + [(wrong, TypeError) for wrong in (1.5, "1", None)],
)
def test_bad_sizes(size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="size must be"):
        channel(size)


def test_bad_arguments() -> None:
    make: Any = channel
    sender, receiver = make(1)
    for call in (make, lambda: make(1, 2), sender.send, lambda: sender.send(1, 2, 3), Sender):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(TypeError, match="no argument"):
        sender.send(1, later=2)
    for end in (lambda t: receiver.receive(timeout=t), lambda t: sender.send(1, timeout=t)):
        with pytest.raises(ValueError, match="timeout"):
            end(-1)
        with pytest.raises(TypeError, match="timeout"):
            end("1")


@both
async def test_operation_is_used_once() -> None:
    sender, receiver = channel(3)
    operation = sender.send(1)
    await operation
    with pytest.raises(RuntimeError, match="already yielded or awaited"):
        await operation
    assert len(receiver) == 1
    taking = receiver.receive()
    await taking
    with pytest.raises(RuntimeError, match="already yielded or awaited"):
        await taking


def test_operation_that_is_never_awaited_warns() -> None:
    sender, receiver = channel(3)
    with pytest.warns(RuntimeWarning, match=r"Sender.send\(\) was never"):
        sender.send(1)
    with pytest.warns(RuntimeWarning, match=r"Receiver.receive\(\) was never"):
        receiver.receive()
    assert len(sender) == 0


def test_types_can_be_subscripted() -> None:
    assert Sender[int] is not None
    assert Receiver[int] is not None
