"""TonIO at work: a server and a hundred clients in one program, on every core.

    python examples/demo.py

The server of ``httpd.py`` serves the folder of Python's standard library (or ``--root``). The
clients are tasks of the same runtime; each keeps one connection, takes the next file from a common
queue, fetches it and compares the SHA-256 of what arrived with that of the file on disk, until the
queue is empty. The program fails if one byte is different or one request goes wrong.
"""

import argparse
import hashlib
import os
import stat
import statistics
import sys
import sysconfig
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

import h11

import httpd
import tonio.colored as tonio
from tonio.colored import net, time
from tonio.colored.net import socket

CLIENTS = 100
RECEIVE_SIZE = 64 * 1024
DISK_CHUNK = 256 * 1024
REQUEST_SECONDS = 60.0  # a request that takes longer has failed


def find_files(root: Path) -> list[str]:
    """The path below ``root`` of every regular file, links left out."""
    return sorted(
        os.path.relpath(path, root)
        for folder, _, names in os.walk(root)
        for path in (os.path.join(folder, name) for name in names)
        if stat.S_ISREG(os.lstat(path).st_mode)
    )


def digest_on_disk(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(DISK_CHUNK):
            digest.update(chunk)
    return digest.digest()


@dataclass(slots=True)
class Tally:
    """What one client has done. Only its own task writes to it: ``+=`` on a number that several
    threads share would lose counts."""

    size: int = 0
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Totals:
    """The sum of all tallies."""

    files: int
    size: int
    failures: list[str]

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> "Totals":
        return cls(
            sum(len(tally.latencies) for tally in tallies),
            sum(tally.size for tally in tallies),
            [failure for tally in tallies for failure in tally.failures],
        )


# --- the clients ------------------------------------------------------------------------------


class Client:
    """A connection to the server which carries one request after the other."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.sock: socket.socket | None = None
        self.wire = h11.Connection(h11.CLIENT)

    async def fetch(self, target: str) -> tuple[int, int, bytes]:
        """Status, number of bytes and SHA-256 of what the server sends for ``target``."""
        if self.sock is None:
            self.sock = socket.socket()
            await self.sock.connect(self.address)
        request = h11.Request(method="GET", target=target, headers=[("Host", self.address[0])])
        await self.sock.sendall(self.wire.send(request) + self.wire.send(h11.EndOfMessage()))
        status, size, digest = 0, 0, hashlib.sha256()
        while not isinstance(event := self.wire.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                self.wire.receive_data(await self.sock.recv(RECEIVE_SIZE))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                size += len(event.data)
                digest.update(event.data)
        if self.wire.our_state is h11.DONE and self.wire.their_state is h11.DONE:
            self.wire.start_next_cycle()
        else:
            self.close()
        return status, size, digest.digest()

    def close(self) -> None:
        """Ends the connection; the next request makes a new one."""
        if self.sock is not None:
            self.sock.close()
        self.sock = None
        self.wire = h11.Connection(h11.CLIENT)


async def check_files(
    address: tuple[str, int], root: Path, queue: deque[str], tally: Tally
) -> None:
    """The task of one client: fetches and compares files until the queue is empty."""
    client = Client(address)
    while queue:
        try:
            name = queue.popleft()  # atomic, as any single operation of a deque
        except IndexError:  # another client was quicker
            break
        started = perf_counter()
        try:
            answer, in_time = await time.timeout(
                client.fetch("/" + quote(os.fsencode(name))), REQUEST_SECONDS
            )
            tally.latencies.append(perf_counter() - started)
            if answer is None or not in_time:
                raise TimeoutError(f"no answer in {REQUEST_SECONDS} seconds")
            status, size, digest = answer
            tally.size += size
            if status != 200:
                tally.failures.append(f"{name}: status {status}")
            elif digest != await tonio.spawn_blocking(digest_on_disk, root / name):
                tally.failures.append(f"{name}: differs ({size} bytes received)")
        except Exception as error:  # noqa: BLE001 - whatever it was, it is listed
            tally.failures.append(f"{name}: {type(error).__name__}: {error}")
            client.close()
    client.close()


# --- what is shown ----------------------------------------------------------------------------


async def show_progress(finished: tonio.Event, total: int, tallies: Sequence[Tally]) -> None:
    """One line that is written over on a terminal, else a line per second."""
    on_terminal = sys.stdout.isatty()
    while not finished.is_set():
        await finished.wait(0.1 if on_terminal else 1.0)
        now = Totals.of(tallies)
        line = f"{now.files:>7,} of {total:,} files, {now.size / 1e6:,.1f} MB, "
        line += f"{len(now.failures)} failed"
        print(
            f"\r{line}\x1b[K" if on_terminal else line, end="" if on_terminal else "\n", flush=True
        )
    if on_terminal:
        print()


def table(
    seconds: float, tallies: Sequence[Tally], workers: Sequence[dict[str, Any]]
) -> Iterator[str]:
    total = Totals.of(tallies)
    latencies = [latency for tally in tallies for latency in tally.latencies]
    median = statistics.median(latencies)
    p99 = sorted(latencies)[len(latencies) * 99 // 100]
    yield ""
    for label, value in (
        ("files", f"{total.files:,}"),
        ("bytes", f"{total.size:,}"),
        ("seconds", f"{seconds:.2f}"),
        ("requests/s", f"{total.files / seconds:,.0f}"),
        ("MB/s", f"{total.size / 1e6 / seconds:,.1f}"),
        ("median latency", f"{median * 1e3:.2f} ms"),
        ("p99 latency", f"{p99 * 1e3:.2f} ms"),
    ):
        yield f"  {label:<16}{value:>16}"
    yield ""
    yield f"  {'thread':<16}{'executed':>16}{'stolen':>16}"
    for number, worker in enumerate(workers):
        yield f"  {number:<16}{worker['executed']:>16,}{worker['stolen']:>16,}"
    yield ""


# --- the program ------------------------------------------------------------------------------


async def demo(root: Path, clients: int) -> bool:
    """Runs it all; whether everything was right."""
    files = await tonio.spawn_blocking(find_files, root)
    if not files:
        print(f"demo: no files below {root}", file=sys.stderr)
        return False

    (listener,), url = await httpd.listen("127.0.0.1", 0)
    assert isinstance(listener, net.SocketListener)
    address = listener.socket.getsockname()
    server = httpd.Server(httpd.Site(str(root)), quiet=True)
    # It serves until this coroutine returns: what then still runs is cancelled.
    tonio.spawn.without_tracking(server.serve([listener]))
    print(f"serving {root} on {url}")
    print(f"{clients} clients fetch {len(files):,} files", flush=True)

    queue = deque(files)
    tallies = [Tally() for _ in range(clients)]
    finished = tonio.Event()
    progress = tonio.spawn(show_progress(finished, len(files), tallies))
    started = perf_counter()
    await tonio.map(lambda tally: check_files(address, root, queue, tally), tallies)
    seconds = perf_counter() - started
    finished.set()
    await progress

    workers = tonio.runtime_stats()
    print(*table(seconds, tallies, workers), sep="\n")
    total = Totals.of(tallies)
    if total.failures or total.files != len(files):
        print(f"FAILED: {len(total.failures)} of {len(files)} files", file=sys.stderr)
        print(*(f"  {failure}" for failure in total.failures), sep="\n", file=sys.stderr)
        return False
    print(f"all {total.files:,} digests equal")
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fetches and checks every file of a folder.")
    parser.add_argument("--root", default=sysconfig.get_path("stdlib"), help="default: the stdlib")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--threads", type=int, default=max(2, os.process_cpu_count() or 2))
    options = parser.parse_args(arguments)
    sys.dont_write_bytecode = True  # a late import would change the folder that is compared
    try:
        fine = tonio.run(demo(Path(options.root), options.clients), threads=options.threads)
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
        return 130
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
