"""What connections cost a server: memory while they are idle, and what is left of short ones.

    python connections.py [--threads N] [--idle N] [--short N] [--seconds S]

An echo server runs in a process of its own. Idle connections are opened; then 64 more work while
those are held; then all are idle. At last short connections are opened, used once and closed. The
server tells its memory and descriptors when it is asked to, over a pipe. What its
coroutines need by themselves is measured by making as many that never start.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measure import allow_many_files, report

import tonio.colored as tonio
from tonio.colored import io
from tonio.colored.net import socket

WORKING = 64
SETTLED = 20_000
"""Short connections after which whatever is kept for the next ones is there."""
SOURCES = 32
"""Addresses that clients use in turn: a closed connection keeps its port for a minute."""


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# ---- the server ----


async def echo(client: socket.socket) -> None:
    with client:
        while data := await client.recv(65536):
            await client.sendall(data)


async def accept(listener: socket.socket) -> None:
    while True:
        client, _ = await listener.accept()
        tonio.spawn.without_tracking(echo(client))


async def serve() -> None:
    coroutines = 10_000
    nobody: Any = None
    gc.collect()
    before = resident_bytes()
    never_started = [echo(nobody) for _ in range(coroutines)]
    per_coroutine = (resident_bytes() - before) / coroutines
    for coroutine in never_started:
        coroutine.close()
    never_started.clear()

    listener = socket.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    tonio.spawn.without_tracking(accept(listener))
    report({"port": listener.getsockname()[1], "per_coroutine": per_coroutine})
    with io.register(sys.stdin) as orders:
        while True:
            await orders.wait_readable()
            if not os.read(sys.stdin.fileno(), 100):
                os._exit(0)
            gc.collect()
            descriptors = len(os.listdir("/proc/self/fd"))
            report({"resident": resident_bytes(), "descriptors": descriptors})


# ---- the clients ----


class Server:
    def __init__(self, threads: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        hello = self._read()
        self.address = ("127.0.0.1", int(hello["port"]))
        self.per_coroutine = hello["per_coroutine"]

    def _read(self) -> dict[str, float]:
        assert self.process.stdout is not None
        told: dict[str, float] = json.loads(self.process.stdout.readline())
        return told

    def cpu_seconds(self) -> float:
        """The clock that `clock_getcpuclockid` names in C."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def ask(self) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return self._read()


async def connect(server: Server, number: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    await client.bind((f"127.0.0.{2 + number % SOURCES}", 0))
    await client.connect(server.address)
    return client


async def open_idle(server: Server, count: int) -> list[socket.socket]:
    clients = []
    for number in range(count):
        client = await connect(server, number)
        await client.sendall(b"hello")  # so that it is known to be served
        assert await client.recv(100) == b"hello"
        clients.append(client)
    return clients


async def work(server: Server, number: int, end: float) -> int:
    requests = 0
    with await connect(server, number) as client:
        message = bytes(1024)
        while time.monotonic() < end:
            await client.sendall(message)
            left = len(message)
            while left:
                left -= len(await client.recv(left))
            requests += 1
    return requests


async def open_short(server: Server, numbers: range) -> None:
    for number in numbers:
        with await connect(server, number) as client:
            await client.sendall(b"hello")
            assert await client.recv(100) == b"hello"


async def together(server: Server, count: int) -> None:
    await tonio.spawn(*[open_short(server, range(n, count, WORKING)) for n in range(WORKING)])


async def idle_cpu(server: Server, seconds: float) -> float:
    await tonio.sleep(0.2)
    begin = server.cpu_seconds()
    await tonio.sleep(seconds)
    return (server.cpu_seconds() - begin) / seconds * 100


async def program(server: Server, idle: int, short: int, seconds: float) -> dict[str, float]:
    result: dict[str, float] = {"coroutine_bytes": server.per_coroutine}
    # what the first connections bring about once and for all does not count
    for client in await open_idle(server, 100):
        client.close()
    await tonio.sleep(0.2)
    before = server.ask()
    clients = await open_idle(server, idle)
    held = server.ask()
    result["connection_bytes"] = (held["resident"] - before["resident"]) / idle
    result["beyond_coroutine_bytes"] = result["connection_bytes"] - server.per_coroutine
    result["idle_cpu_percent"] = await idle_cpu(server, seconds)
    begin = server.cpu_seconds()
    workers = [work(server, n, time.monotonic() + seconds) for n in range(WORKING)]
    requests = sum(await tonio.spawn(*workers))
    result["requests_per_second"] = requests / seconds
    result["cpu_us_per_request"] = (server.cpu_seconds() - begin) / requests * 1e6
    for client in clients:
        client.close()

    await together(server, min(SETTLED, short))
    await tonio.sleep(0.5)
    settled = server.ask()
    begun = time.monotonic()
    await together(server, max(short - SETTLED, 0))
    result["short_per_second"] = max(short - SETTLED, 0) / (time.monotonic() - begun)
    await tonio.sleep(0.5)
    after = server.ask()
    result["short_growth_bytes"] = after["resident"] - settled["resident"]
    result["short_growth_descriptors"] = after["descriptors"] - settled["descriptors"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="what connections cost a server")
    parser.add_argument("--serve", action="store_true", help="be the server")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--short", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    allow_many_files()
    if options.serve:
        tonio.run(serve(), threads=options.threads)
        return
    server = Server(options.threads)
    try:
        report(tonio.run(program(server, options.idle, options.short, options.seconds), threads=1))
    finally:
        server.process.kill()
        server.process.communicate()


if __name__ == "__main__":
    main()
