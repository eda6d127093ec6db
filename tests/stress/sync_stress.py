"""Channels, permits and locks under many tasks, with random cancellations and a closing at the end.

    python tests/stress/sync_stress.py [MESSAGES] [THREADS]

64 producers and 64 consumers share one channel; every message that was accepted must be received
once, each producer's in order. Meanwhile tasks take permits and a lock: there are never more inside
than there may be, and all permits are back at the end.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

import tonio.colored as tonio
from tonio.colored import sync
from tonio.colored.sync import channel
from tonio.exceptions import EndOfChannel

PRODUCERS = 64
CONSUMERS = 64
PERMITS = 3


class Stress:
    def __init__(self, messages: int) -> None:
        self.each = max(1, messages // PRODUCERS)
        self.accepted: list[list[int]] = [[] for _ in range(PRODUCERS)]
        self.received: list[list[tuple[int, int]]] = [[] for _ in range(CONSUMERS)]
        self.over = tonio.Event()
        self.inside = 0
        self.entered: list[None] = []
        self.cut_off: list[None] = []

    async def produce(self, sender: Any, producer: int) -> None:
        accepted = self.accepted[producer]
        generator = random.Random(producer)
        with sender:
            for number in range(self.each):
                if generator.random() < 0.001:
                    # it is either accepted or not, and then the next number follows
                    _, sent = await tonio.time.timeout(sender.send((producer, number)), 0)
                    if not sent:
                        self.cut_off.append(None)
                        continue
                else:
                    await sender.send((producer, number))
                accepted.append(number)

    async def consume(self, receiver: Any, consumer: int) -> None:
        received = self.received[consumer]
        generator = random.Random(-consumer)
        try:
            while True:
                if generator.random() < 0.001:
                    message, got = await tonio.time.timeout(
                        receiver.receive(), generator.choice([0, 0.0001])
                    )
                    if not got:
                        self.cut_off.append(None)
                        continue
                else:
                    message = await receiver.receive()
                received.append(message)
        except EndOfChannel:
            pass

    async def use_permits(self, semaphore: Any, lock: Any, user: int) -> None:
        generator = random.Random(user)
        while not self.over.is_set():
            scope = tonio.scope(timeout=generator.choice([None, 0.0002]))
            async with scope, semaphore():
                async with lock():
                    # a plain number: if two were inside at once, it would show
                    self.inside += 1
                    assert self.inside == 1
                    try:
                        await tonio.yield_now()
                    finally:
                        self.inside -= 1
                self.entered.append(None)

    async def program(self) -> None:
        sender, receiver = channel.channel(128)
        semaphore, lock = sync.Semaphore(PERMITS), sync.Lock()
        users = [tonio.spawn(self.use_permits(semaphore, lock, n)) for n in range(8)]
        consuming = [tonio.spawn(self.consume(receiver, n)) for n in range(CONSUMERS)]
        producing = [tonio.spawn(self.produce(sender.clone(), n)) for n in range(PRODUCERS)]
        sender.close()
        for join in (*producing, *consuming):
            await join
        self.over.set()
        for join in users:
            await join
        assert semaphore.tokens() == PERMITS
        assert not lock.locked()
        self.check()

    def check(self) -> None:
        found: list[list[int]] = [[] for _ in range(PRODUCERS)]
        for received in self.received:
            last = [-1] * PRODUCERS
            for producer, number in received:
                assert number > last[producer], "out of order"
                last[producer] = number
                found[producer].append(number)
        for producer in range(PRODUCERS):
            assert sorted(found[producer]) == self.accepted[producer], f"producer {producer}"


def run(messages: int, threads: int) -> str:
    stress = Stress(messages)
    begun = time.monotonic()
    tonio.run(stress.program(), threads=threads)
    count = sum(map(len, stress.received))
    return (
        f"{count} messages in {time.monotonic() - begun:.1f} s, "
        f"{len(stress.cut_off)} waits cut off, "
        f"{len(stress.entered)} times through the semaphore and the lock"
    )


if __name__ == "__main__":
    print(
        run(
            int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000,
            int(sys.argv[2]) if len(sys.argv) > 2 else 4,
        )
    )
