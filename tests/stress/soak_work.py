"""What a soak does: small rounds of everything, each of which checks what must hold when it ends.

Written with ``await``; soak.py makes a second module of it with ``yield``, and runs both at once. A
round may be cut off at any point. `ROUNDS` names them; what runs beside them is in soak.py.
"""

import gc
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import tonio.colored as tonio
from tonio.colored import sync
from tonio.colored.net import socket
from tonio.colored.sync import channel
from tonio.exceptions import CancelledError, EndOfChannel, Lagged, TaskCancelled


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the echo servers listen, as arguments of `socket` and `connect`."""

    tcp: tuple[int, Any]
    unix: tuple[int, Any]


class Planned(Exception):
    """An error that a round raises on purpose."""


def check(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def moment() -> float:
    return random.random() * 0.002


# --- sockets ----------------------------------------------------------------------------------


async def echo(connection: Any) -> None:
    with connection:
        try:
            while data := await connection.recv(random.choice((100, 4096, 65536))):
                await connection.sendall(data)
        except ConnectionError:
            pass  # the client has left in the middle


async def serve(listener: Any) -> None:
    with listener:
        async with tonio.scope() as scope:
            while True:
                connection, _ = await listener.accept()
                scope.spawn(echo(connection))


async def exchange(sock: Any, data: bytes) -> None:
    await sock.sendall(data)
    received = bytearray()
    while len(received) < len(data):
        part = await sock.recv(len(data) - len(received))
        check(part != b"", "the server has left in the middle")
        received += part
    check(received == data, "the echo differs")


async def converse(server: tuple[int, Any]) -> None:
    family, address = server
    with socket.socket(family) as sock:
        await sock.connect(address)
        if family == socket.AF_INET and random.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        for _ in range(random.randrange(1, 20)):
            data = random.randbytes(random.choice((1, 100, 20_000)))
            if random.random() < 0.97:
                await exchange(sock, data)
                continue
            _, whole = await tonio.time.timeout(exchange(sock, data), moment())
            if not whole:
                break


async def tcp(servers: Servers) -> None:
    await converse(servers.tcp)


async def unix(servers: Servers) -> None:
    await converse(servers.unix)


async def datagrams(_: Servers) -> None:
    left, right = socket.socketpair(type=socket.SOCK_DGRAM)
    with left, right:

        async def send() -> None:
            for number in range(50):
                await left.send(b"%d" % number)

        sending = tonio.spawn(send())
        for number in range(50):
            check(await right.recv(100) == b"%d" % number, "a datagram was lost or overtaken")
        await sending


# --- channels ---------------------------------------------------------------------------------

PRODUCERS = 4
CONSUMERS = 3
MESSAGES = 60


async def produce(sender: Any, bounded: bool, producer: int) -> int:
    number = 0
    with sender:
        for _ in range(MESSAGES):
            message = (producer, number)
            if not bounded:
                sender.send(message)
                await tonio.yield_now()
            elif random.random() < 0.1:
                _, sent = await tonio.time.timeout(sender.send(message), moment())
                number -= not sent
            else:
                await sender.send(message)
            number += 1
    return number


async def consume(receiver: Any) -> list[tuple[int, int]]:
    received = []
    try:
        while True:
            if random.random() < 0.1:
                message, got = await tonio.time.timeout(receiver.receive(), moment())
                if got:
                    received.append(message)
            else:
                received.append(await receiver.receive())
    except EndOfChannel:
        return received


async def channels(_: Servers) -> None:
    size = random.choice((0, 1, 16, None))
    sender, receiver = channel.unbounded() if size is None else channel.channel(size)
    bounded = size is not None
    producing = tonio.spawn(*[produce(sender.clone(), bounded, n) for n in range(PRODUCERS)])
    consuming = tonio.spawn(*[consume(receiver.clone()) for _ in range(CONSUMERS)])
    sender.close()
    receiver.close()
    accepted = await producing
    found: list[list[int]] = [[] for _ in range(PRODUCERS)]
    for received in await consuming:
        last = [-1] * PRODUCERS
        for producer, number in received:
            check(number > last[producer], "a message was overtaken")
            last[producer] = number
            found[producer].append(number)
    for producer in range(PRODUCERS):
        expected = list(range(accepted[producer]))
        check(sorted(found[producer]) == expected, "a message was lost or came twice")


async def listen(receiver: Any) -> tuple[int, int]:
    got = missed = 0
    last = -1
    while True:
        try:
            number = await receiver.receive()
        except Lagged as lagged:
            missed += lagged.missed
        except EndOfChannel:
            return got, missed
        else:
            check(number > last, "a message was overtaken")
            last = number
            got += 1


async def broadcasts(_: Servers) -> None:
    sender, receiver = channel.broadcast(8)
    listening = tonio.spawn(*[listen(receiver.clone()) for _ in range(4)])
    receiver.close()
    with sender:
        for number in range(MESSAGES):
            sender.send(number)
            if random.random() < 0.3:
                await tonio.yield_now()
    for got, missed in await listening:
        check(got + missed == MESSAGES, "a message was neither received nor missed")


async def selects(_: Servers) -> None:
    sender, receiver = channel.channel(4)
    never = tonio.Event()

    async def send() -> None:
        with sender:
            for number in range(1, MESSAGES + 1):
                await sender.send(number)

    sending = tonio.spawn(send())
    for number in range(1, MESSAGES + 1):
        got = None
        while got is None:
            got = await tonio.select(receiver.receive(), tonio.sleep(moment()), never.wait())
        check(got == number, "a message was lost to a loser")
    await sending


# --- locks ------------------------------------------------------------------------------------


async def locks(_: Servers) -> None:
    lock, semaphore, shared = sync.Lock(), sync.Semaphore(2), sync.RwLock()
    inside: list[None] = []
    total = 0  # guarded by the lock
    table = [0, 0]  # written by one, read by many

    async def use() -> None:
        nonlocal total
        for _ in range(10):
            async with tonio.scope(timeout=random.choice((None, None, moment()))):
                async with lock():
                    before = total
                    await tonio.yield_now()
                    total = before + 1
                async with semaphore():
                    inside.append(None)
                    try:
                        check(len(inside) <= 2, "too many are inside")
                        await tonio.yield_now()
                    finally:
                        inside.pop()
                async with shared.read():
                    first = table[0]
                    await tonio.yield_now()
                    check(first == table[1], "it changed while it was read")
                async with shared.write():
                    table[0] += 1
                    try:
                        await tonio.yield_now()
                    finally:
                        table[1] += 1

    await tonio.spawn(*[use() for _ in range(6)])
    check(not lock.locked(), "the lock is still held")
    check(semaphore.tokens() == 2, "a permit was lost")
    check(total <= 60 and table[0] == table[1], "the counts do not balance")


async def meetings(_: Servers) -> None:
    barrier, condition, once = sync.Barrier(4), sync.Condition(), sync.Once()
    waiting: list[int] = []
    made: list[None] = []

    async def make() -> str:
        made.append(None)
        await tonio.sleep(moment())
        return "made"

    async def meet() -> int:
        check(await once.get_or_init(make) == "made", "another value was made")
        return await barrier.wait()

    async def take() -> int:
        async with condition():
            await condition.wait_for(lambda: waiting)
            return waiting.pop()

    places = await tonio.spawn(*[meet() for _ in range(8)])
    check(sorted(places) == [0, 0, 1, 1, 2, 2, 3, 3], "the places at the barrier are wrong")
    check(len(made) == 1, "it was made twice")
    taking = tonio.spawn(*[take() for _ in range(8)])
    for number in range(8):
        async with condition():
            waiting.append(number)
            condition.notify()
    check(sorted(await taking) == list(range(8)), "an item was lost")


# --- tasks ------------------------------------------------------------------------------------


async def scopes(_: Servers) -> None:
    begun: list[None] = []
    ended: list[None] = []

    async def child(depth: int) -> None:
        begun.append(None)
        try:
            if depth > 0:
                async with tonio.scope(shield=random.random() < 0.1) as inner:
                    inner.spawn(child(depth - 1))
                    inner.spawn(child(depth - 1))
                    await tonio.sleep(moment())
            await tonio.sleep(moment())
            if random.random() < 0.03:
                raise Planned
        finally:
            ended.append(None)

    async def tree() -> None:
        async with tonio.scope(timeout=random.choice((None, 0.004))) as outer:
            for _ in range(3):
                outer.spawn(child(3))
            await tonio.sleep(moment())
            if random.random() < 0.3:
                outer.cancel()

    with suppress(Planned):  # and groups of them
        await tonio.spawn(tree())
    check(len(begun) == len(ended), "a task has not ended with its scope")


async def outcomes(_: Servers) -> None:
    async def later(number: int) -> int:
        await tonio.sleep(moment())
        return number

    check(await tonio.map(later, range(20)) == list(range(20)), "map() has lost something")
    came = []
    async for number in tonio.as_completed(*[later(n) for n in range(10)]):
        came.append(number)
    check(sorted(came) == list(range(10)), "as_completed() has lost something")


async def timers(_: Servers) -> None:
    begun = tonio.time.time()
    every = tonio.time.interval(0.001)
    for tick in range(10):
        await every.tick()
        # a nanosecond for the sum of two numbers that are not exact
        check(tonio.time.time() >= begun + tick * 0.001 - 1e-9, "a tick came too early")
    outcome = await tonio.time.timeout(tonio.sleep(60), moment())
    check(outcome == (None, False), "the time was up")
    async with tonio.scope(timeout=60) as scope:
        scope.deadline = tonio.time.time() + moment()
        await tonio.sleep(60)
    check(scope.cancelled, "the deadline came")
    event = tonio.Event()
    check(not await event.wait(moment()), "nobody has set it")


async def jobs(_: Servers) -> None:
    begun: list[None] = []
    ended: list[None] = []

    def endless() -> None:
        try:
            begun.append(None)
            while True:
                time.sleep(0.0002)
        finally:
            ended.append(None)

    def asks() -> int:
        answer: int = tonio.block_on(tonio.spawn_blocking(abs, -7))
        return answer

    values = await tonio.map_blocking(abs, range(-10, 0))
    check(values == list(range(10, 0, -1)), "a job's value was lost")
    check(await tonio.spawn_blocking(asks) == 7, "block_on() has lost a value")
    async with tonio.scope(timeout=moment()):
        await tonio.spawn_blocking(endless)
    # it may have been interrupted before the first line of it, or right after the last
    check(len(begun) <= len(ended) <= 1, "a job goes on after its waiter")


async def generators(_: Servers) -> None:
    closed: list[None] = []

    async def numbers() -> Any:
        try:
            for number in range(100):
                await tonio.sleep(0)
                yield number
        finally:
            await tonio.sleep(0)
            closed.append(None)

    async def leave() -> None:
        generator = numbers()
        for expected in range(random.randrange(1, 5)):
            check(await anext(generator) == expected, "a generator has lost a value")

    await tonio.spawn(*[leave() for _ in range(5)])
    for _ in range(1000):
        if len(closed) == 5:
            break
        await tonio.sleep(0.001)
    check(len(closed) == 5, "a generator that was dropped was not closed")


async def runs(_: Servers) -> None:
    """A runtime of its own, with descriptors, threads, jobs and tasks that are left over."""

    async def program() -> int:
        tonio.spawn.without_tracking(tonio.sleep(60), tonio.spawn_blocking(abs, -1))
        left, right = socket.socketpair()
        with left, right:
            await left.sendall(b"x")
            await right.recv(1)
        return sum(await tonio.map(number, range(10)))

    async def number(value: int) -> int:
        await tonio.sleep(0)
        return value

    def job() -> Any:
        return tonio.run(program(), threads=2)

    check(await tonio.spawn_blocking(job) == 45, "a run has failed")


async def collections(_: Servers) -> None:
    ring: list[Any] = [Random(), tonio.Event(), channel.channel(3)]
    ring.append(ring)
    await tonio.sleep(random.random() * 0.5)
    gc.collect(random.randrange(3))


async def cut_off(servers: Servers) -> None:
    """Any of the others, cancelled at a moment of any kind."""
    other = random.choice([r for r in ROUNDS.values() if r is not cut_off])
    if random.random() < 0.5:
        await tonio.time.timeout(other(servers), moment() * 5)
        return
    join = tonio.spawn(other(servers))
    await tonio.sleep(moment() * 5)
    join.cancel()
    with suppress(TaskCancelled):
        await join


ROUNDS: dict[str, Callable[[Servers], Any]] = {
    function.__name__: function
    for function in (
        tcp, unix, datagrams, channels, broadcasts, selects, locks, meetings, scopes, outcomes,
        timers, jobs, generators, runs, collections, cut_off,
    )
}  # fmt: skip


async def drive(
    name: str, servers: Servers, *, over: Any, gate: Any, tally: list[int], own: int
) -> None:
    """One round after the other while the gate is up."""
    while not over.is_set():
        await gate.wait()
        try:
            await ROUNDS[name](servers)
        except CancelledError:
            raise
        except BaseException as error:
            error.add_note(f"in a round of {name}")
            raise
        tally[own] += 1  # nobody else writes this place
        if random.random() < 0.2:
            await tonio.sleep(moment())
