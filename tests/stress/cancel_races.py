"""Cancellations that race with completions, for every operation that can be cancelled.

    python tests/stress/cancel_races.py [RACES] [THREADS]

A round is one race: a task waits, and from two other threads it is completed and cancelled at the
same time. Exactly one of the two must win, and what was handed over must be with the waiter or with
whoever comes next: permits, messages, bytes and connections are counted at both ends.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import tonio.colored as tonio
from tonio.colored import sync
from tonio.colored.net import socket
from tonio.colored.sync import channel
from tonio.exceptions import CancelledError

BATCH = 64


class Rival:
    """A thread that is no worker and does what it is told while the tasks run.

    It waits awake: a thread that has to be woken comes too late for a race.
    """

    def __init__(self) -> None:
        self.work: list[Callable[[], Any]] = []
        self.over = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.over:
            if self.work:
                self.work.pop(0)()
            else:
                time.sleep(0)

    def do(self, function: Callable[[], Any]) -> None:
        self.work.append(function)

    def stop(self) -> None:
        self.over = True
        self.thread.join()


class Races:
    """One kind of operation: `wait` makes what is waited for, `complete` ends one of the waits."""

    def __init__(self, rival: Rival) -> None:
        self.rival = rival
        self.outcomes: Counter[str] = Counter()

    async def batch(self, wait: Callable[[int], Any], complete: Callable[[int], Any]) -> list[Any]:
        """Lets `BATCH` waits race; the values of those that were completed."""
        got: list[Any] = []

        async def one(number: int) -> None:
            got.append(await wait(number))

        async with tonio.scope() as scope:
            joins = [scope.spawn(one(number)) for number in range(BATCH)]
            await tonio.yield_now()

            begun: list[None] = []

            def cancel() -> None:
                begun.append(None)
                for join in reversed(joins):
                    join.cancel()

            self.rival.do(cancel)
            while not begun:
                await tonio.yield_now()
            for number in range(BATCH):
                result = complete(number)
                if result is not None:
                    await result
        for join in joins:
            assert join.done()
        self.outcomes["completed"] += len(got)
        self.outcomes["cancelled"] += BATCH - len(got)
        return got

    # --- the operations

    async def event(self) -> None:
        events = [tonio.Event() for _ in range(BATCH)]
        got = await self.batch(lambda n: events[n].wait(), lambda n: events[n].set() and None)
        assert all(value is True for value in got)

    async def sleep(self) -> None:
        await self.batch(lambda n: tonio.sleep(0.00001 * n), lambda _: None)

    async def join(self) -> None:
        events = [tonio.Event() for _ in range(BATCH)]

        async def give(number: int) -> int:
            await events[number].wait()
            return number

        others = [tonio.spawn(give(number)) for number in range(BATCH)]
        got = await self.batch(lambda n: others[n], lambda n: events[n].set() and None)
        assert len(set(got)) == len(got)
        assert [await other for other in others] == list(range(BATCH))

    async def interval(self) -> None:
        ticks = tonio.time.interval(0.00002)
        await self.batch(lambda _: ticks.tick(), lambda _: None)

    async def job(self) -> None:
        ran: list[int] = []
        await self.batch(lambda n: tonio.spawn_blocking(ran.append, n), lambda _: None)
        assert len(set(ran)) == len(ran) <= BATCH

    async def semaphore(self) -> None:
        semaphore = sync.Semaphore(4)
        for _ in range(4):
            semaphore.try_acquire()

        await self.batch(lambda _: semaphore.acquire(), lambda _: semaphore.release())
        free = semaphore.tokens()
        held = self.outcomes["completed"] - self.taken
        assert free + held == BATCH, (free, held)

    async def lock(self) -> None:
        lock = sync.Lock()
        inside: list[int] = []

        async def use(number: int) -> int:
            async with lock:
                inside.append(number)
                assert inside == [number]
                try:
                    await tonio.yield_now()
                finally:
                    inside.remove(number)
            return number

        await self.batch(use, lambda _: None)
        assert not lock.locked()

    async def receive(self) -> None:
        sender, receiver = channel.channel(2)
        sending: list[Any] = []
        got = await self.batch(
            lambda _: receiver.receive(), lambda n: sending.append(tonio.spawn(sender.send(n)))
        )

        async def close() -> None:
            for join in sending:
                await join
            sender.close()

        tonio.spawn.without_tracking(close())
        async for message in receiver:
            got.append(message)
        assert sorted(got) == list(range(BATCH)), Counter(got)

    async def send(self) -> None:
        sender, receiver = channel.channel(1)
        received: list[int] = []

        async def send(number: int) -> int:
            await sender.send(number)
            return number

        async def take(_: int) -> None:
            found = await tonio.time.timeout(receiver.receive(), 0.0001)
            if found[1]:
                received.append(found[0])

        got = await self.batch(send, take)
        while len(receiver):
            received.append(await receiver.receive())
        assert sorted(received) == sorted(got)

    async def select(self) -> None:
        sender, receiver = channel.unbounded()
        never = tonio.Event()
        got = await self.batch(
            lambda _: tonio.select(never.wait(), receiver.receive()), lambda n: sender.send(n)
        )
        while len(receiver):
            got.append(await receiver.receive())
        assert sorted(got) == list(range(BATCH)), Counter(got)

    async def datagram(self) -> None:
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with left, right:
            got = await self.batch(lambda _: right.recv(10), lambda n: left.send(b"%d" % n))
            while True:
                found = await tonio.time.timeout(right.recv(10), 0.05)
                if not found[1]:
                    break
                got.append(found[0])
        assert sorted(map(int, got)) == list(range(BATCH)), Counter(got)

    async def accept(self) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            await listener.bind(b"")
            listener.listen(BATCH)
            clients = [socket.socket(socket.AF_UNIX) for _ in range(BATCH)]
            got = await self.batch(
                lambda _: listener.accept(), lambda n: clients[n].connect(listener.getsockname())
            )
            while True:
                found = await tonio.time.timeout(listener.accept(), 0.05)
                if not found[1]:
                    break
                got.append(found[0])
            assert len(got) == BATCH
            for connection, _ in got:
                connection.close()
            for client in clients:
                client.close()

    async def run(self, name: str, races: int) -> None:
        self.taken = 0
        for _ in range(max(1, races // BATCH)):
            self.taken = self.outcomes["completed"]
            await getattr(self, name)()


KINDS = (
    "event",
    "sleep",
    "join",
    "interval",
    "job",
    "semaphore",
    "lock",
    "receive",
    "send",
    "select",
    "datagram",
    "accept",
)


def race(name: str, races: int, threads: int) -> Counter[str]:
    rival = Rival()
    try:
        kind = Races(rival)
        tonio.run(kind.run(name, races), threads=threads)
        return kind.outcomes
    except CancelledError:
        raise AssertionError("a cancellation went astray") from None
    finally:
        rival.stop()


def main() -> None:
    races = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    begun = time.monotonic()
    total = 0
    for name in KINDS:
        outcomes = race(name, races // len(KINDS) + BATCH, threads)
        total += outcomes.total()
        print(
            f"{name}: {outcomes['completed']} completed, {outcomes['cancelled']} cancelled",
            flush=True,
        )
    print(f"{total} races in {time.monotonic() - begun:.1f} s, nothing lost")


if __name__ == "__main__":
    main()
