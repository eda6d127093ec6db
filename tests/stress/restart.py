"""A server that is replaced again and again while clients use it.

    python tests/stress/restart.py [SECONDS] [CLIENTS]

The listening socket belongs to this program and is inherited by each server process
(``examples/httpd.py``). Every half second a new one is started; when it serves, the one before is
interrupted and ends within its time of grace. The clients keep their connections as long as they
may, and count whatever goes wrong: no connection may be refused or reset, no answer may be missing.
"""

from __future__ import annotations

import os
import signal
import socket as stdlib_socket
import sys
import time
from pathlib import Path

import tonio.colored as tonio
from tonio.colored import net
from tonio.exceptions import CancelledError

ROOT = Path(__file__).resolve().parent.parent.parent
HTTPD = ROOT / "examples" / "httpd.py"
REQUEST = b"GET /README.md HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = (ROOT / "README.md").read_bytes()
RESTART_SECONDS = 0.5


class Tally:
    """What the clients have seen. Each client has one of its own."""

    def __init__(self) -> None:
        self.requests = 0
        self.connections = 0
        self.errors: list[str] = []


async def fetch(stream: net.SocketStream) -> bool:
    """One request; may there be another one on this connection?"""
    await stream.send_all(REQUEST)
    head = await stream.receive_until(b"\r\n\r\n", timeout=20)
    assert head.startswith(b"HTTP/1.1 200 "), head
    body = await stream.receive_exactly(len(BODY), timeout=20)
    assert body == BODY
    return b"Connection: close" not in head


async def client(port: int, end: float, tally: Tally) -> None:
    while time.monotonic() < end:
        try:
            async with await net.open_tcp_stream("127.0.0.1", port) as stream:
                tally.connections += 1
                while time.monotonic() < end:
                    again = await fetch(stream)
                    tally.requests += 1
                    if not again:
                        break
        except CancelledError:
            raise
        except BaseException as error:
            tally.errors.append(repr(error))


def start(listener: stdlib_socket.socket) -> tuple[int, int]:
    """A server that has the listener as its descriptor 3: its process, and a pipe of its output."""
    reader, writer = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, str(HTTPD), "--root", str(ROOT), "--quiet", "--grace", "20"],
        {**os.environ, "LISTEN_FDS": "1"},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, writer, 1),
            (os.POSIX_SPAWN_DUP2, listener.fileno(), 3),
        ],
        setsigdef=[signal.SIGINT],
    )
    os.close(writer)
    return pid, reader


def until_it_serves(reader: int) -> None:
    data = b""
    while b"serving" not in data:
        more = os.read(reader, 4096)
        if not more:
            raise SystemExit("restart: a server has not started")
        data += more


def finish(pid: int, reader: int) -> None:
    os.kill(pid, signal.SIGINT)
    _, status = os.waitpid(pid, 0)
    os.close(reader)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"restart: a server has ended with status {status}")


async def restart(listener: stdlib_socket.socket, end: float) -> int:
    """Replaces the server until the time is over; how often."""
    pid, reader = await tonio.spawn_blocking(start, listener)
    await tonio.spawn_blocking(until_it_serves, reader)
    restarts = 0
    while time.monotonic() < end:
        await tonio.sleep(RESTART_SECONDS)
        following = await tonio.spawn_blocking(start, listener)
        await tonio.spawn_blocking(until_it_serves, following[1])
        await tonio.spawn_blocking(finish, pid, reader)
        pid, reader = following
        restarts += 1
    await tonio.sleep(0.1)  # the clients look at the clock between two requests
    await tonio.spawn_blocking(finish, pid, reader)
    return restarts


async def program(seconds: float, clients: int) -> str:
    with stdlib_socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        port = listener.getsockname()[1]
        end = time.monotonic() + seconds
        tallies = [Tally() for _ in range(clients)]
        async with tonio.scope() as scope:
            for tally in tallies:
                scope.spawn(client(port, end, tally))
            restarts = await restart(listener, end)
    errors = [error for tally in tallies for error in tally.errors]
    if errors:
        raise SystemExit(f"restart: {len(errors)} errors, such as {errors[:3]}")
    requests = sum(tally.requests for tally in tallies)
    connections = sum(tally.connections for tally in tallies)
    return f"{restarts} restarts, {requests:,} requests on {connections:,} connections, no error"


def run(seconds: float, clients: int = 50) -> str:
    return tonio.run(program(seconds, clients), threads=2)


if __name__ == "__main__":
    arguments = [float(argument) for argument in sys.argv[1:]]
    seconds = arguments[0] if arguments else 20.0
    print(run(seconds, int(arguments[1]) if len(arguments) > 1 else 50))
