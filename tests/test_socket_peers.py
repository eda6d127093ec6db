"""Sockets whose other end is a program that everybody uses: curl, nc, socat.

A test is skipped where its program is missing. On a fresh Debian `scripts/bootstrap.sh` installs
them.
"""

import hashlib
import io
import os
import random
import re
import shutil
import socket as stdlib_socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from notation import both
from sockets import abstract_name, receive_exactly, tcp_listener, udp

import tonio.colored as tonio
from tonio.colored.net import socket
from tonio.exceptions import TaskCancelled

SECONDS = 20.0
DATA = random.Random(7).randbytes(700_000)  # more than the system keeps on the way
ANSWER = random.Random(8).randbytes(500_000)


def is_netcat_of_openbsd() -> bool:
    if shutil.which("nc") is None:
        return False
    told = subprocess.run(["nc", "-h"], capture_output=True, text=True, check=False)
    return "OpenBSD" in told.stderr


def has_ipv6() -> bool:
    try:
        with stdlib_socket.socket(stdlib_socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
needs_socat = pytest.mark.skipif(shutil.which("socat") is None, reason="there is no socat here")
needs_nc = pytest.mark.skipif(
    not is_netcat_of_openbsd(), reason="there is no nc of the OpenBSD kind here (netcat-openbsd)"
)
needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")


class Peer:
    """A program with pipes. What waits for it blocks: it is for `spawn_blocking`."""

    def __init__(self, *command: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """What it says about itself, which has the pattern."""
        said = ""
        for line in self._pipe(self.process.stderr):
            said += line.decode()
            if found := re.search(pattern, said):
                return found
        raise AssertionError(f"it ended without {pattern!r}: {said}")

    def write(self, data: bytes) -> None:
        pipe = self._pipe(self.process.stdin)
        pipe.write(data)
        pipe.flush()

    def read(self, count: int) -> bytes:
        return self._pipe(self.process.stdout).read(count)

    def finish(self, data: bytes = b"") -> bytes:
        """Gives it all of its input and waits for its end: its output."""
        output, errors = self.process.communicate(data, timeout=SECONDS)
        assert self.process.returncode == 0, errors
        return output

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


async def talk(sock: socket.socket, data: bytes, size: int) -> bytes:
    """Sends, and receives so much at the same time, then the end: what was received.

    Our direction ends last: nc does not send the rest of its input to one who has nothing to say.
    """
    receiving = tonio.spawn(receive_exactly(sock, size))
    await sock.sendall(data)
    received = await receiving
    sock.shutdown(socket.SHUT_WR)
    assert await sock.recv(1) == b""
    return received


async def serve_one(listener: socket.socket, data: bytes, size: int) -> bytes:
    """Talks with the first who comes."""
    client, _ = await listener.accept(timeout=SECONDS)
    with client:
        return await talk(client, data, size)


# --- places to meet ---------------------------------------------------------------------------


class Place:
    """Where a stream is listened for, as we and as the programs call it."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "sock")
        self.abstract = abstract_name()


class UnixPlace(Place):
    family = socket.AF_UNIX
    said = "listening on"

    def listener(self) -> stdlib_socket.socket:
        sock = stdlib_socket.socket(stdlib_socket.AF_UNIX)
        sock.bind(self.path)
        return sock

    def socat(self, sock: socket.socket) -> str:
        return f"UNIX-CONNECT:{self.path}"

    def socat_listener(self) -> str:
        return f"UNIX-LISTEN:{self.path}"

    def curl(self, sock: socket.socket) -> list[str]:
        return ["--unix-socket", self.path, "http://any/"]

    def address(self, found: "re.Match[str]") -> Any:
        return self.path


class AbstractPlace(UnixPlace):
    def listener(self) -> stdlib_socket.socket:
        sock = stdlib_socket.socket(stdlib_socket.AF_UNIX)
        sock.bind(self.abstract)
        return sock

    def socat(self, sock: socket.socket) -> str:
        return f"ABSTRACT-CONNECT:{self.abstract[1:]}"

    def socat_listener(self) -> str:
        return f"ABSTRACT-LISTEN:{self.abstract[1:]}"

    def curl(self, sock: socket.socket) -> list[str]:
        return ["--abstract-unix-socket", self.abstract[1:], "http://any/"]

    def address(self, found: "re.Match[str]") -> Any:
        return self.abstract


class TCPPlace(Place):
    family = socket.AF_INET
    host = "127.0.0.1"
    name = "TCP4"
    in_brackets = "127.0.0.1"
    said = r"listening on .*:(\d+)\n"

    def listener(self) -> stdlib_socket.socket:
        sock = stdlib_socket.socket(self.family)
        sock.bind((self.host, 0))
        return sock

    def socat(self, sock: socket.socket) -> str:
        return f"{self.name}:{self.in_brackets}:{sock.getsockname()[1]}"

    def socat_listener(self) -> str:
        return f"{self.name}-LISTEN:0,bind={self.in_brackets}"

    def curl(self, sock: socket.socket) -> list[str]:
        return [f"http://{self.in_brackets}:{sock.getsockname()[1]}/"]

    def address(self, found: "re.Match[str]") -> Any:
        return (self.host, int(found[1]))


class TCP6Place(TCPPlace):
    family = socket.AF_INET6
    host = "::1"
    name = "TCP6"
    in_brackets = "[::1]"


PLACES = [
    pytest.param(TCPPlace, id="tcp"),
    pytest.param(TCP6Place, id="tcp6", marks=needs_ipv6),
    pytest.param(UnixPlace, id="unix"),
    pytest.param(AbstractPlace, id="abstract"),
]

across_places = pytest.mark.parametrize("kind", PLACES)
some_threads = both(threads=(1, 4))


@pytest.fixture
def folder() -> Iterator[Path]:
    """One with a short name: that of a Unix socket has little room."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def listening(place: Any) -> socket.socket:
    listener = place.listener()
    listener.listen()
    return socket.from_stdlib_socket(listener)


# --- curl -------------------------------------------------------------------------------------


async def receive_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """A request's head, and what came after it; both empty at the end of the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = await sock.recv(65536)
        if not piece:
            assert not received
            return b"", b""
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


async def send_answer(sock: socket.socket, content: IO[bytes]) -> None:
    size = content.seek(0, os.SEEK_END)
    await sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    assert await sock.sendfile(content, 0) == size


@needs_curl
@across_places
@some_threads
async def test_curl_fetches_a_file_twice(kind: Callable[[Path], Any], folder: Path) -> None:
    """Over one connection, or several, as curl likes."""
    requests = []

    async def serve(client: socket.socket) -> None:
        with client, io.FileIO(folder / "content") as content:
            while head := (await receive_head(client))[0]:
                requests.append(head.partition(b"\r\n")[0])
                await send_answer(client, content)

    async def accept() -> None:
        while True:
            client, _ = await listener.accept()
            tonio.spawn.without_tracking(serve(client))

    (folder / "content").write_bytes(DATA)
    place = kind(folder)
    with listening(place) as listener:
        target = place.curl(listener)
        # the options for where to connect to hold for both
        with Peer("curl", "-sS", "--fail", "--noproxy", "*", *target, target[-1]) as curl:
            accepting = tonio.spawn(accept())
            assert await tonio.spawn_blocking(curl.finish) == DATA + DATA
        accepting.cancel()
        with pytest.raises(TaskCancelled):
            await accepting
    assert requests == [b"GET / HTTP/1.1"] * 2


@needs_curl
@across_places
@some_threads
async def test_curl_sends_a_body(kind: Callable[[Path], Any], folder: Path) -> None:
    async def serve() -> str:
        client, _ = await listener.accept(timeout=SECONDS)
        with client:
            head, body = await receive_head(client)
            size = re.search(rb"(?i)content-length: (\d+)", head)
            assert size is not None
            if b"100-continue" in head:
                await client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body += await receive_exactly(client, int(size[1]) - len(body))
            with tempfile.TemporaryFile() as content:
                content.write(hashlib.sha256(body).hexdigest().encode())
                content.flush()
                await send_answer(client, content)
        return head.decode().partition(" ")[0]

    place = kind(folder)
    with listening(place) as listener:
        serving = tonio.spawn(serve())
        options = ["-sS", "--fail", "--noproxy", "*", "--data-binary", "@-"]
        with Peer("curl", *options, *place.curl(listener)) as curl:
            output = await tonio.spawn_blocking(curl.finish, DATA)
        assert output.decode() == hashlib.sha256(DATA).hexdigest()
        assert await serving == "POST"


# --- nc ---------------------------------------------------------------------------------------


@needs_nc
@some_threads
async def test_nc_comes_as_a_client() -> None:
    with tcp_listener() as listener:
        serving = tonio.spawn(serve_one(listener, ANSWER, len(DATA)))
        port = listener.getsockname()[1]
        with Peer("nc", "-N", "127.0.0.1", str(port)) as nc:
            assert await tonio.spawn_blocking(nc.finish, DATA) == ANSWER
        assert await serving == DATA


@needs_nc
@some_threads
async def test_nc_is_the_server() -> None:
    with Peer("nc", "-v", "-N", "-l", "127.0.0.1", "0") as nc, socket.socket() as sock:
        found = await tonio.spawn_blocking(nc.wait_for, r"Listening on \S+ (\d+)\n")
        await sock.connect(("127.0.0.1", int(found[1])), timeout=SECONDS)
        finishing = tonio.spawn_blocking(nc.finish, ANSWER)
        assert await talk(sock, DATA, len(ANSWER)) == ANSWER
        assert await finishing == DATA


@needs_nc
@some_threads
async def test_nc_comes_with_a_datagram() -> None:
    with await udp() as sock:
        port = sock.getsockname()[1]
        # -W 1: it ends when it has received one
        with Peer("nc", "-u", "-W", "1", "127.0.0.1", str(port)) as nc:
            finishing = tonio.spawn_blocking(nc.finish, b"question")
            data, address = await sock.recvfrom(100, timeout=SECONDS)
            assert (data, address[0]) == (b"question", "127.0.0.1")
            await sock.sendto(b"answer", address)
            assert await finishing == b"answer"


@needs_nc
@some_threads
async def test_nc_receives_datagrams() -> None:
    with Peer("nc", "-v", "-u", "-W", "2", "-l", "127.0.0.1", "0") as nc, await udp() as sock:
        found = await tonio.spawn_blocking(nc.wait_for, r"Bound on \S+ (\d+)\n")
        address = ("127.0.0.1", int(found[1]))
        finishing = tonio.spawn_blocking(nc.finish, b"from nc")
        await sock.sendto(b"one", address)
        assert await sock.recvfrom(100, timeout=SECONDS) == (b"from nc", address)
        await sock.sendto(b"two", address)
        assert await finishing == b"onetwo"


@needs_nc
@some_threads
async def test_nc_that_is_killed_is_an_error_of_the_sender() -> None:
    with Peer("nc", "-v", "-l", "127.0.0.1", "0") as nc, socket.socket() as sock:
        found = await tonio.spawn_blocking(nc.wait_for, r"Listening on \S+ (\d+)\n")
        await sock.connect(("127.0.0.1", int(found[1])), timeout=SECONDS)

        async def send() -> None:
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                while True:
                    await sock.sendall(DATA)

        sending = tonio.spawn(send())  # nobody takes what it writes
        await tonio.spawn_blocking(nc.read, 1)
        nc.process.kill()
        await sending


# --- socat ------------------------------------------------------------------------------------


@needs_socat
@across_places
@some_threads
async def test_socat_comes_as_a_client(kind: Callable[[Path], Any], folder: Path) -> None:
    place = kind(folder)
    with listening(place) as listener:
        serving = tonio.spawn(serve_one(listener, ANSWER, len(DATA)))
        # -t: how long it waits for the other direction when one has ended
        with Peer("socat", "-t", "20", "-", place.socat(listener)) as socat:
            assert await tonio.spawn_blocking(socat.finish, DATA) == ANSWER
        assert await serving == DATA


@needs_socat
@across_places
@some_threads
async def test_socat_is_the_server(kind: Callable[[Path], Any], folder: Path) -> None:
    place = kind(folder)
    echo = ["socat", "-d", "-d", "-t", "20", place.socat_listener(), "EXEC:cat"]
    with Peer(*echo) as socat, socket.socket(place.family) as sock:
        found = await tonio.spawn_blocking(socat.wait_for, place.said)
        await sock.connect(place.address(found), timeout=SECONDS)
        assert await talk(sock, DATA, len(DATA)) == DATA
        await tonio.spawn_blocking(socat.finish)


@needs_socat
@some_threads
async def test_socat_comes_with_unix_datagrams(folder: Path) -> None:
    here, there = str(folder / "here"), str(folder / "there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        await sock.bind(here)
        with Peer("socat", "-", f"UNIX-SENDTO:{here},bind={there}") as socat:
            for question, answer in ((b"one", b"first"), (b"two", b"second")):
                await tonio.spawn_blocking(socat.write, question)
                assert await sock.recvfrom(100, timeout=SECONDS) == (question, there)
                assert await sock.sendto(answer, there) == len(answer)
                assert await tonio.spawn_blocking(socat.read, len(answer)) == answer


@needs_socat
@some_threads
async def test_socat_answers_unix_datagrams(folder: Path) -> None:
    here, there = str(folder / "here"), str(folder / "there")
    with (
        Peer("socat", "-d", "-d", f"UNIX-RECVFROM:{there},fork", "EXEC:cat") as socat,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
    ):
        await tonio.spawn_blocking(socat.wait_for, "receiving on")
        await sock.bind(here)
        for question in (b"one", b"two", b"x" * 4000):
            await sock.sendto(question, there)
            assert await sock.recvfrom(5000, timeout=SECONDS) == (question, there)
