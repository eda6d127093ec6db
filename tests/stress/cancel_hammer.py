"""Cancellations that race with accept and receive: no connection and no byte is lost.

    python tests/stress/cancel_hammer.py [ROUNDS] [THREADS]

A server accepts and receives with waits that are cut off at moments of all kinds: by a timeout of
their own, by `tonio.time.timeout`, by `Join.cancel`. Whatever a wait that was cut off would have
got, the next one must get: every connection is served, every byte arrives in order, every datagram
arrives once. A short form runs with the tests.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from random import Random
from typing import Any

import tonio.colored as tonio
from tonio.colored.net import socket
from tonio.exceptions import ResourceClosed, TaskCancelled

MESSAGE = 7
CLIENTS = 8


class Hammer:
    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.random = Random(rounds)
        self.cut_off = 0
        self.served: list[None] = []  # appending is atomic, counting is not

    async def impatient(self, make: Any) -> Any:
        """The outcome of an operation that is begun again whenever it was cut off."""
        while True:
            seconds = self.random.choice((0.0, 0.00005, 0.0002))
            way = self.random.randrange(3)
            if way == 0:
                with suppress(TimeoutError):
                    return await make(seconds)
            elif way == 1:
                value, in_time = await tonio.time.timeout(make(None), seconds)
                if in_time:
                    return value
            else:
                outcome: list[Any] = []

                async def wait(outcome: list[Any] = outcome) -> None:
                    outcome.append(await make(None))

                join = tonio.spawn(wait())
                for _ in range(self.random.randrange(3)):
                    await tonio.yield_now()
                join.cancel()
                with suppress(TaskCancelled):
                    await join
                if outcome:
                    return outcome[0]
            self.cut_off += 1

    async def serve(self, sock: socket.socket) -> None:
        with sock:
            expected = 0
            while True:
                data = await self.impatient(lambda t: sock.recv(MESSAGE, timeout=t))
                if not data:
                    break
                for byte in data:
                    assert byte == expected % 256, (byte, expected)
                    expected += 1
            assert expected == 5 * MESSAGE, expected
        self.served.append(None)

    async def accept(self, listener: socket.socket, count: int) -> None:
        joins = []
        for _ in range(count):
            sock, _ = await self.impatient(lambda t: listener.accept(timeout=t))
            joins.append(tonio.spawn(self.serve(sock)))
        for join in joins:
            await join

    async def connect(self, address: Any, count: int) -> None:
        for _ in range(count):
            with socket.socket() as sock:
                await sock.connect(address)
                for part in range(5):
                    first = part * MESSAGE
                    await sock.sendall(bytes(n % 256 for n in range(first, first + MESSAGE)))
                    await tonio.yield_now()

    async def receive_datagrams(self, sock: socket.socket, got: list[bytes]) -> None:
        with suppress(ResourceClosed):
            while True:
                got.append(await self.impatient(lambda t: sock.recv(100, timeout=t)))

    async def program(self) -> None:
        each = self.rounds // CLIENTS
        listener = socket.socket()
        with listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen(512)
            # Two tasks accept at the same time, from one queue.
            accepting = [tonio.spawn(self.accept(listener, each * CLIENTS // 2)) for _ in range(2)]
            connecting = [
                tonio.spawn(self.connect(listener.getsockname(), each)) for _ in range(CLIENTS)
            ]
            for join in (*connecting, *accepting):
                await join
        assert len(self.served) == each * CLIENTS

        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        got: list[bytes] = []
        with left, right:
            receivers = [tonio.spawn(self.receive_datagrams(right, got)) for _ in range(3)]
            for number in range(self.rounds):
                await left.send(b"%d" % number)
            while len(got) < self.rounds:
                await tonio.sleep(0.001)
            right.close()
            for receiver in receivers:
                await receiver
        assert sorted(map(int, got)) == list(range(self.rounds))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    hammer = Hammer(rounds)
    begun = time.monotonic()
    tonio.run(hammer.program(), threads=threads)
    seconds = time.monotonic() - begun
    print(f"{len(hammer.served)} connections and {rounds} datagrams in {seconds:.1f} s, none lost")
    print(f"  {hammer.cut_off} waits were cut off")


if __name__ == "__main__":
    main()
