"""Channels, permits and locks under many tasks, with random cancellations and a closing at the end.

    python tests/stress/sync_stress.py [MESSAGES] [THREADS]

64 producers and 64 consumers use four channels. Every message that was accepted must be received
once, each producer's in order; what was cut off was not accepted, and is sent again. Meanwhile
tasks take permits and a lock: never more are inside than there may be, and all permits are back at
the end. Then, on one thread: whoever came first is served first.
"""

from __future__ import annotations

import itertools
import random
import sys
import time
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

import tonio.colored as tonio
from tonio.colored import sync
from tonio.colored.sync import channel
from tonio.exceptions import EndOfChannel, TaskCancelled

ENDS = 16  # producers of a channel, and consumers
# size (None: unbounded) and share of the messages, in percent
ROUTES = [(128, 45), (None, 45), (1, 5), (0, 5)]
MOST_QUEUED = 10_000  # in the unbounded one: then producers let others run
USERS = 8  # of the permits and the lock
PERMITS = 4
RARELY = 50  # one wait in so many has a time limit
SECONDS_BETWEEN_CANCELLATIONS = 0.0003
SECONDS_BETWEEN_LINES = 2.0


class Limits:
    """Gives a wait a time limit now and then, in one way or another."""

    def __init__(self, seed: int) -> None:
        self.generator = random.Random(seed)
        self.left = self.generator.randrange(1, 2 * RARELY)
        self.cut_off = 0

    async def wait(self, operation: Callable[..., Any], *arguments: object) -> tuple[Any, bool]:
        """The result, and whether there is one."""
        self.left -= 1
        if self.left > 0:
            return await operation(*arguments), True
        self.left = self.generator.randrange(1, 2 * RARELY)
        seconds = self.generator.choice([0, 0.00005, 0.0002])
        if self.generator.random() < 0.5:
            result, in_time = await tonio.time.timeout(operation(*arguments), seconds)
        else:
            try:
                result, in_time = await operation(*arguments, timeout=seconds), True
            except TimeoutError:
                result, in_time = None, False
        self.cut_off += not in_time
        return result, in_time


class Workers:
    """Tasks that are cancelled at random, and take up their work again."""

    def __init__(self) -> None:
        self.keepers: list[Any] = []
        self.joins: list[Any] = []
        self.cancelled = 0  # one task counts

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        self.joins.append(None)
        self.keepers.append(tonio.spawn(self._keep(len(self.joins) - 1, work)))

    async def _keep(self, place: int, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            self.joins[place] = tonio.spawn(work())
            try:
                await self.joins[place]
                return
            except TaskCancelled:
                pass

    async def cancel_some(self, over: Any) -> None:
        generator = random.Random(1)
        while not over.is_set():
            await tonio.sleep(SECONDS_BETWEEN_CANCELLATIONS)
            join = generator.choice(self.joins)
            self.cancelled += join is not None and join.cancel()

    async def wait(self) -> None:
        for keeper in self.keepers:
            await keeper


class Route:
    """A channel, and all that goes over it. A message is `producer << 32 | number`."""

    def __init__(self, size: int | None, messages: int) -> None:
        self.size = size
        self.each = max(1, messages // ENDS)
        self.accepted = [0] * ENDS  # by each producer, who writes in its place only
        self.received = [array("Q") for _ in range(ENDS)]  # the same by consumers
        self.limits = [Limits(n) for n in range(2 * ENDS)]

    def start(self, workers: Workers) -> None:
        sender, receiver = channel.unbounded() if self.size is None else channel.channel(self.size)
        with sender, receiver:
            for n in range(ENDS):
                workers.start(self._consumer(n, receiver.clone()))
            for n in range(ENDS):
                workers.start(self._producer(n, sender.clone()))

    def _producer(self, producer: int, sender: Any) -> Callable[[], Awaitable[None]]:
        limits = self.limits[producer]

        async def send_all() -> None:
            number = self.accepted[producer]
            try:
                while number < self.each:
                    message = producer << 32 | number
                    _, sent = await limits.wait(sender.send, message)
                    number += sent
            finally:
                self.accepted[producer] = number
            sender.close()

        async def send_all_at_once() -> None:
            while self.accepted[producer] < self.each:
                sender.send(producer << 32 | self.accepted[producer])
                self.accepted[producer] += 1
                if self.accepted[producer] % 64 == 0 or len(sender) > MOST_QUEUED:
                    await tonio.yield_now()
            sender.close()

        return send_all_at_once if self.size is None else send_all

    def _consumer(self, consumer: int, receiver: Any) -> Callable[[], Awaitable[None]]:
        received = self.received[consumer]
        limits = self.limits[ENDS + consumer]

        async def receive_all() -> None:
            try:
                while True:
                    message, got = await limits.wait(receiver.receive)
                    if got:
                        received.append(message)
            except EndOfChannel:
                receiver.close()

        return receive_all

    def count(self) -> int:
        return sum(map(len, self.received))

    def check(self) -> None:
        times = [bytearray(self.each) for _ in range(ENDS)]
        for received in self.received:
            last = [-1] * ENDS
            for message in received:
                producer, number = message >> 32, message & 0xFFFFFFFF
                assert number > last[producer], f"size {self.size}: out of order"
                last[producer] = number
                times[producer][number] += 1
        for producer in range(ENDS):
            assert self.accepted[producer] == self.each
            assert times[producer] == b"\1" * self.each, f"size {self.size}: lost, or twice"


class Permits:
    """A semaphore and a lock, and tasks that go through both."""

    def __init__(self) -> None:
        self.semaphore = sync.Semaphore(PERMITS, max_value=PERMITS)
        self.lock = sync.Lock()
        self.over = tonio.Event()
        self.inside: list[None] = []  # one for each permit
        self.in_lock = False
        self.total = 0  # a plain number, which two at once would spoil
        self.entered = [0] * USERS
        self.limits = [Limits(n) for n in range(USERS)]

    def start(self, workers: Workers) -> None:
        for n in range(USERS):
            workers.start(self._user(n))

    def _user(self, user: int) -> Callable[[], Awaitable[None]]:
        limits = self.limits[user]

        async def use() -> None:
            while not self.over.is_set():
                amount = limits.generator.randrange(1, PERMITS + 1)
                held, got = await limits.wait(self.semaphore.acquire, amount)
                if got:
                    with held:
                        self.inside += [None] * amount
                        assert len(self.inside) <= PERMITS
                        try:
                            await self._enter(user)
                        finally:
                            del self.inside[-amount:]

        return use

    async def _enter(self, user: int) -> None:
        held, got = await self.limits[user].wait(self.lock.acquire)
        if got:
            with held:
                assert not self.in_lock
                self.in_lock = True
                before = self.total
                try:
                    await tonio.yield_now()
                finally:
                    self.total = before + 1
                    self.entered[user] += 1
                    self.in_lock = False

    def check(self) -> None:
        assert self.total == sum(self.entered), "critical sections overlap"
        assert self.inside == []
        assert self.semaphore.tokens() == PERMITS
        assert not self.lock.locked()


class Stress:
    def __init__(self, messages: int) -> None:
        self.messages = messages
        self.routes = [Route(size, messages * share // 100) for size, share in ROUTES]
        self.permits = Permits()
        self.traffic = Workers()
        self.users = Workers()
        self.begun = time.monotonic()

    def count(self) -> int:
        return sum(route.count() for route in self.routes)

    def line(self) -> str:
        limits = [limits for part in (*self.routes, self.permits) for limits in part.limits]
        return (
            f"{self.count()} messages in {time.monotonic() - self.begun:.1f} s, "
            f"{sum(one.cut_off for one in limits)} waits cut off, "
            f"{self.traffic.cancelled + self.users.cancelled} tasks cancelled, "
            f"{sum(self.permits.entered)} times through the semaphore and the lock"
        )

    async def report(self) -> None:
        while not self.permits.over.is_set():
            await tonio.time.timeout(self.permits.over.wait(), SECONDS_BETWEEN_LINES)
            print(f"of {self.messages}: {self.line()}", flush=True)

    async def program(self) -> None:
        over = self.permits.over
        for route in self.routes:
            route.start(self.traffic)
        self.permits.start(self.users)
        others = [self.traffic.cancel_some(over), self.users.cancel_some(over), self.report()]
        joins = [tonio.spawn(other) for other in others]
        await self.traffic.wait()
        over.set()
        await self.users.wait()
        for join in joins:
            await join

    def check(self) -> None:
        for part in (*self.routes, self.permits):
            part.check()


class Order:
    """On one thread, where it can be told who came first: they are served by their tickets."""

    def __init__(self, tickets: int) -> None:
        self.tickets = tickets
        self.served = 0
        self.workers = Workers()
        self.over = tonio.Event()

    async def program(self) -> None:
        cancelling = tonio.spawn(self.workers.cancel_some(self.over))
        for acquire in (sync.Lock().acquire, sync.Semaphore(1).acquire, sync.RwLock().write):
            tickets, look = itertools.count(), self._inspector()
            for n in range(ENDS):
                self.workers.start(self._holder(acquire, tickets, look, Limits(n)))
        for size in (0, 1, 5):
            tickets, look = itertools.count(), self._inspector()
            sender, receiver = channel.channel(size)
            with sender:
                for n in range(ENDS):
                    self.workers.start(self._sender(sender.clone(), tickets, Limits(n)))
                self.workers.start(self._receiver(receiver, look, Limits(ENDS)))
        await self.workers.wait()
        self.over.set()
        await cancelling

    def _inspector(self) -> Callable[[int], None]:
        last = -1

        def look(ticket: int) -> None:
            nonlocal last
            assert ticket > last, "out of turn"
            last = ticket
            self.served += 1

        return look

    def _holder(
        self, acquire: Any, tickets: Any, look: Callable[[int], None], limits: Limits
    ) -> Callable[[], Awaitable[None]]:
        async def hold() -> None:
            while (ticket := next(tickets)) < self.tickets:
                held, got = await limits.wait(acquire)
                if got:
                    with held:
                        look(ticket)
                        await tonio.yield_now()

        return hold

    def _sender(self, sender: Any, tickets: Any, limits: Limits) -> Callable[[], Awaitable[None]]:
        async def send() -> None:
            while (ticket := next(tickets)) < self.tickets:
                await limits.wait(sender.send, ticket)
            sender.close()

        return send

    def _receiver(
        self, receiver: Any, look: Callable[[int], None], limits: Limits
    ) -> Callable[[], Awaitable[None]]:
        async def receive() -> None:
            try:
                while True:
                    ticket, got = await limits.wait(receiver.receive)
                    if got:
                        look(ticket)
            except EndOfChannel:
                pass

        return receive


def run(messages: int, threads: int) -> str:
    stress = Stress(messages)
    tonio.run(stress.program(), threads=threads)
    line = stress.line()
    stress.check()
    order = Order(max(200, messages // 200))
    tonio.run(order.program(), threads=1)
    return (
        f"RESULT {line}; none lost, none twice; "
        f"{order.served} served in order, {order.workers.cancelled} tasks cancelled"
    )


if __name__ == "__main__":
    print(
        run(
            int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000,
            int(sys.argv[2]) if len(sys.argv) > 2 else 4,
        )
    )
