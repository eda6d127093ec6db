"""Closes that race with parked receives, sends and accepts on other threads.

    python tests/stress/close_hammer.py [CLOSES] [THREADS]

Tasks make a socket, park something on it and have it closed, by themselves or by a foreign thread,
at a moment that varies. Every wait must end exactly once: with ResourceClosed, or with what came
just before. Meanwhile other connections, whose descriptor numbers lie between those that come and
go, pass numbered messages, and every new socket begins with a message of its own: a wake-up or a
system call that reaches a wrong descriptor breaks a sequence. A short form runs with the tests.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections import Counter

import tonio.colored as tonio
from tonio.colored.net import socket
from tonio.exceptions import ResourceClosed

PRODUCERS = 8
GUARDS = 4
FOREIGN_CLOSERS = 2


class Hammer:
    def __init__(self, closes: int) -> None:
        self.closes = closes
        self.outcomes: Counter[str] = Counter()
        self.guarded = 0
        self.over = False
        self.to_close: queue.SimpleQueue[socket.socket | None] = queue.SimpleQueue()

    # --- what is parked

    async def receive(self, sock: socket.socket, number: int) -> str:
        try:
            data = await sock.recv(100)
        except ResourceClosed:
            return "receive: closed"
        assert data == b"late %d" % number, data
        return "receive: came before"

    async def receive_datagram(self, sock: socket.socket, number: int) -> str:
        try:
            data, _ = await sock.recvfrom(100)
        except ResourceClosed:
            return "datagram: closed"
        assert data == b"late %d" % number, data
        return "datagram: came before"

    async def send(self, sock: socket.socket) -> str:
        try:
            await sock.sendall(bytes(10_000))
        except ResourceClosed:
            return "send: closed"
        raise AssertionError("it was sent, though there was no room")

    async def accept(self, sock: socket.socket) -> str:
        try:
            await sock.accept()
        except ResourceClosed:
            return "accept: closed"
        raise AssertionError("nobody has connected")

    # --- one close

    async def close(self, sock: socket.socket, number: int) -> None:
        for _ in range(number // 8 % 3):
            await tonio.yield_now()
        if number // 4 % 2:
            self.to_close.put(sock)
        else:
            sock.close()

    async def round(self, number: int) -> list[str]:
        kind = number % 4
        if kind == 3:
            listener = socket.socket()
            listener.listen(1)
            joins = [tonio.spawn(self.accept(listener)) for _ in range(1 + number // 4 % 3)]
            await self.close(listener, number)
            return [await join for join in joins]
        stream = kind != 1
        left, right = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        )
        await left.sendall(b"first %d" % number)
        first = await right.recv(100)
        assert first == b"first %d" % number, first
        if kind == 2:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            try:
                while True:
                    await left.send(bytes(4096), socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
            joins = [tonio.spawn(self.send(left))]
            await self.close(left, number)
            outcomes = [await join for join in joins]
            right.close()
            return outcomes
        waiter = self.receive if stream else self.receive_datagram
        joins = [tonio.spawn(waiter(right, number))]
        if number // 24 % 2:
            await left.sendall(b"late %d" % number)
        await self.close(right, number)
        outcomes = [await join for join in joins]
        left.close()
        return outcomes

    async def produce(self, numbers: range) -> Counter[str]:
        outcomes: Counter[str] = Counter()
        for number in numbers:
            outcomes.update(await self.round(number))
        return outcomes

    # --- those that must not be touched

    async def guard(self, number: int) -> int:
        left, right = socket.socketpair()
        with left, right:
            count = 0
            while not self.over:
                message = b"%d of %d" % (count, number)
                await left.sendall(message)
                data = await right.recv(100)
                assert data == message, (data, message)
                count += 1
                await tonio.sleep(0.001)
        return count

    def foreign_closer(self) -> None:
        while (sock := self.to_close.get()) is not None:
            sock.close()

    # --- all of it

    async def program(self) -> None:
        guards = [tonio.spawn(self.guard(number)) for number in range(GUARDS)]
        producers = [
            tonio.spawn(self.produce(range(first, self.closes, PRODUCERS)))
            for first in range(PRODUCERS)
        ]
        for producer in producers:
            self.outcomes += await producer
        self.over = True
        for guard in guards:
            self.guarded += await guard

    def run(self, threads: int) -> None:
        reader, writer = os.pipe()  # no socket of ours may close or read it
        os.write(writer, b"intact")
        closers = [threading.Thread(target=self.foreign_closer) for _ in range(FOREIGN_CLOSERS)]
        for closer in closers:
            closer.start()
        try:
            tonio.run(self.program(), threads=threads)
        finally:
            for _ in closers:
                self.to_close.put(None)
            for closer in closers:
                closer.join()
        assert os.read(reader, 100) == b"intact"
        os.close(reader)
        os.close(writer)


def expected_outcomes(closes: int) -> Counter[str]:
    """How many of each kind of wait there were."""
    kinds: Counter[str] = Counter()
    for number in range(closes):
        kind = ("receive", "datagram", "send", "accept")[number % 4]
        kinds[kind] += 1 + number // 4 % 3 if kind == "accept" else 1
    return kinds


def main() -> None:
    closes = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    hammer = Hammer(closes)
    before = len(os.listdir("/proc/self/fd"))
    begun = time.monotonic()
    hammer.run(threads)
    seconds = time.monotonic() - begun
    ended: Counter[str] = Counter()
    for outcome, count in hammer.outcomes.items():
        ended[outcome.partition(":")[0]] += count
    assert ended == expected_outcomes(closes), (ended, expected_outcomes(closes))
    left = len(os.listdir("/proc/self/fd")) - before
    assert left == 0, f"{left} descriptors are left"
    print(f"{closes} closes in {seconds:.1f} s, {sum(ended.values())} waits ended once each")
    for outcome, count in sorted(hammer.outcomes.items()):
        print(f"  {outcome}: {count}")
    print(f"  {hammer.guarded} messages of bystanders arrived in order")


if __name__ == "__main__":
    main()
