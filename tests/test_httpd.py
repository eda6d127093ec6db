"""The file server and the demo in ``examples/``, used as a user would: from the outside.

Each test talks to a server process of its own or to one shared by the module. No test sleeps to
wait for something: all waiting is a blocking call with a limit of ``LIMIT`` seconds.
"""

import hashlib
import http.client
import importlib
import os
import queue
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import IO

import pytest
from certificates import certificate, needs_openssl
from kinds import FACTOR

import tonio

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LIMIT = 20.0 * FACTOR
BIG = 24 * 1024 * 1024
SECRET = b"what nobody outside may read"


def start(*arguments: str, code: str | None = None) -> "subprocess.Popen[str]":
    """Runs one of the examples; or ``code`` in which it can be imported and altered."""
    command = [sys.executable, *(("-c", code) if code else ()), *arguments]
    environment = dict(os.environ, PYTHONPATH=str(EXAMPLES))
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


class Lines:
    """The lines of a stream, read by a thread so that one can wait for them with a limit."""

    def __init__(self, stream: IO[str]) -> None:
        self.seen: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """The first line from here on that has the pattern."""
        while True:
            try:
                line = self._queue.get(timeout=LIMIT)
            except queue.Empty:
                pytest.fail(f"no line {pattern!r} in {LIMIT} seconds, only {self.seen}")
            if line is None:
                pytest.fail(f"the output ended without {pattern!r}: {self.seen}")
            self.seen.append(line)
            if found := re.search(pattern, line):
                return found

    def rest(self) -> list[str]:
        """All lines, once the stream has ended."""
        self._thread.join(LIMIT)
        while not self._queue.empty():
            line = self._queue.get()
            if line is not None:
                self.seen.append(line)
        return self.seen


class Httpd:
    """A running ``httpd.py``. It is ended with SIGINT and must take that well."""

    def __init__(self, root: Path, *options: str, patch: str | None = None) -> None:
        arguments = ["--root", str(root), "--port", "0", *options]
        if patch is None:
            self.process = start(str(EXAMPLES / "httpd.py"), *arguments)
        else:
            code = f"import sys, httpd\n{patch}\nsys.exit(httpd.main(sys.argv[1:]))"
            self.process = start(*arguments, code=code)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.output, self.log = Lines(self.process.stdout), Lines(self.process.stderr)
        self.expect_traceback = False
        self.base, self.port = "", 0

    def __enter__(self) -> "Httpd":
        try:
            found = self.output.wait_for(r"(https?://\S+:(\d+))/$")
            self.base, self.port = found[1], int(found[2])
        except BaseException:
            self.process.kill()
            print(*self.log.rest(), sep="\n")
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self.process.kill()
            self.process.wait()
            print(*self.log.rest(), sep="\n")  # pytest shows it when the test fails
        if error is None:
            has_traceback = any("Traceback" in line for line in self.log.seen)
            assert has_traceback == self.expect_traceback

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        assert self.process.wait(LIMIT) == 0
        assert self.output.rest()[-1] == "stopped"

    def url(self, path: str) -> str:
        return f"{self.base}{path}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)

    def fetch(
        self, target: str, method: str = "GET", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request on a connection of its own."""
        with closing(self.client()) as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            client.request(method, target, headers=named)
            response = client.getresponse()
            return response, response.read()

    def raw(self, data: bytes) -> bytes:
        """Everything that comes back for these bytes until the server closes."""
        with self.connect() as sock:
            sock.sendall(data)
            return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while chunk := sock.recv(65536):
        data += chunk
    return bytes(data)


def status_of(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found is not None, answer[:200]
    return int(found[1])


def curl(*arguments: str) -> str:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", str(LIMIT), *arguments],
        capture_output=True,
        timeout=2 * LIMIT,
        check=True,
    )
    return done.stdout.decode()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all kinds of things in it, and a secret beside it."""
    base = tmp_path_factory.mktemp("httpd")
    (base / "secret.txt").write_bytes(SECRET)
    root = base / "root"
    (root / "folder" / "inner").mkdir(parents=True)
    (root / "site").mkdir()
    (root / "hello.txt").write_text("hello\n")
    (root / "digits").write_text("0123456789")
    (root / "empty.bin").write_bytes(b"")
    (root / "page.html").write_text("<p>page</p>")
    (root / "packed.tar.gz").write_bytes(b"not really")
    (root / "big.bin").write_bytes(random.Random(3).randbytes(BIG))
    (root / "folder" / "a & <b>.txt").write_text("a & b")
    (root / "folder" / "100% ?#ü.txt").write_text("odd")
    Path(os.fsdecode(os.fsencode(root / "folder") + b"/\xff\xfe.txt")).write_text("not UTF-8")
    (root / "site" / "index.html").write_text("<p>index</p>")
    (root / "inside.txt").symlink_to("hello.txt")
    (root / "folder-inside").symlink_to("folder")
    (root / "outside.txt").symlink_to(base / "secret.txt")
    (root / "folder-outside").symlink_to(base)
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Httpd]:
    with Httpd(root, "--threads", "2") as running:
        yield running


# --- what is answered -------------------------------------------------------------------------


def test_get_with_curl(server: Httpd, root: Path) -> None:
    answer = curl("--include", server.url("/hello.txt"))
    head, _, body = answer.partition("\r\n\r\n")
    assert body == "hello\n"
    status, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 200 OK"
    assert headers["Content-Length"] == "6"
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    modified = (root / "hello.txt").stat().st_mtime
    assert headers["Last-Modified"] == formatdate(int(modified), usegmt=True)
    assert parsedate_to_datetime(headers["Date"]).tzinfo is not None
    assert headers["ETag"].startswith('"')
    assert "Connection" not in headers


def test_head_with_curl_is_get_without_the_body(server: Httpd) -> None:
    def without_date(answer: str) -> list[str]:
        return [line for line in answer.splitlines() if not line.startswith("Date:")]

    url = server.url("/big.bin")
    head = curl("--head", url)
    got = curl("--dump-header", "-", "--output", os.devnull, url)
    assert without_date(head) == without_date(got)
    assert f"Content-Length: {BIG}" in head


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/page.html", "text/html; charset=utf-8"),
        ("/packed.tar.gz", "application/octet-stream"),
        ("/digits", "application/octet-stream"),
    ],
)
def test_content_type(server: Httpd, path: str, kind: str) -> None:
    response, _ = server.fetch(path)
    assert response.headers["Content-Type"] == kind
    assert "Content-Encoding" not in response.headers


def test_empty_file(server: Httpd) -> None:
    response, body = server.fetch("/empty.bin")
    assert (response.status, response.headers["Content-Length"], body) == (200, "0", b"")


def test_big_file_arrives_whole(server: Httpd, root: Path) -> None:
    _, body = server.fetch("/big.bin")
    assert hashlib.sha256(body).digest() == hashlib.sha256((root / "big.bin").read_bytes()).digest()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/hello.txt", 200),
        ("/hello.txt?query#fragment", 200),
        ("/folder", 301),
        ("/folder/", 200),
        ("/site/", 200),
        ("/nothing", 404),
        ("/hello.txt/", 404),
        ("/hello.txt/more", 404),
        ("/dangling", 404),
        ("/loop", 404),
        ("/" + "x" * 300, 404),
        ("/pipe", 403),
        ("/%00", 400),
        ("/hello.txt%00.html", 400),
    ],
)
def test_status(server: Httpd, method: str, path: str, status: int) -> None:
    response, body = server.fetch(path, method)
    assert response.status == status
    if method == "HEAD":
        assert body == b""
        assert "Content-Length" in response.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(server: Httpd, method: str) -> None:
    answer = curl("--include", "--request", method, server.url("/hello.txt"))
    assert answer.startswith("HTTP/1.1 405 ")
    assert "\nAllow: GET, HEAD\r\n" in answer


def test_body_of_a_refused_request_does_not_disturb_the_answer(server: Httpd) -> None:
    body = b"x" * 500_000
    answer = server.raw(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    assert status_of(answer) == 405
    assert answer.endswith(b"</html>\n")
    assert b"Connection: close\r\n" in answer


def test_folder_without_slash_is_redirected_within_the_server(server: Httpd) -> None:
    assert curl("--location", server.url("/site")) == "<p>index</p>"
    response, _ = server.fetch("/folder?a=b")
    assert response.headers["Location"] == "/folder/?a=b"
    response, _ = server.fetch("//folder/inner")  # "//folder" would be another server
    assert (response.status, response.headers["Location"]) == (301, "/folder/inner/")


def test_every_entry_of_a_listing_leads_to_its_file(server: Httpd, root: Path) -> None:
    _, body = server.fetch("/folder/")
    assert "<b>" not in body.decode()
    links = re.findall(r'href="\./([^"]*)"', body.decode())
    assert len(links) == len(list((root / "folder").iterdir())) + 1
    assert "../" in links
    contents = {server.fetch(f"/folder/{link}")[1] for link in links if link.endswith(".txt")}
    assert contents == {b"a & b", b"odd", b"not UTF-8"}


# --- conditions and ranges --------------------------------------------------------------------


def test_conditional_requests(server: Httpd) -> None:
    response, _ = server.fetch("/hello.txt")
    etag, modified = response.headers["ETag"], response.headers["Last-Modified"]

    def status(**headers: str) -> int:
        response, body = server.fetch("/hello.txt", **headers)
        assert response.status != 304 or (body == b"" and response.headers["ETag"] == etag)
        return response.status

    long_ago, tomorrow = formatdate(0, usegmt=True), formatdate(2**32, usegmt=True)
    assert status(If_None_Match=etag) == 304
    assert status(If_None_Match=f'"other", W/{etag}') == 304
    assert status(If_None_Match="*") == 304
    assert status(If_None_Match='"other"') == 200
    assert status(If_Modified_Since=modified) == 304
    assert status(If_Modified_Since=tomorrow) == 304
    assert status(If_Modified_Since=long_ago) == 200
    assert status(If_Modified_Since="nonsense") == 200
    assert status(If_None_Match='"other"', If_Modified_Since=modified) == 200
    assert status(If_Match=etag) == 200
    assert status(If_Match='"other"') == 412
    assert status(If_Unmodified_Since=modified) == 200
    assert status(If_Unmodified_Since=long_ago) == 412


@pytest.mark.parametrize(
    ("asked", "got", "part"),
    [
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-99", b"0123456789", "bytes 0-9/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
        ("Bytes=8-8", b"8", "bytes 8-8/10"),
    ],
)
def test_range(server: Httpd, asked: str, got: bytes, part: str) -> None:
    response, body = server.fetch("/digits", Range=asked)
    assert (response.status, body) == (206, got)
    assert response.headers["Content-Range"] == part
    assert response.headers["Content-Length"] == str(len(got))


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_range_that_is_not_there(server: Httpd, asked: str) -> None:
    response, _ = server.fetch("/digits", Range=asked)
    assert (response.status, response.headers["Content-Range"]) == (416, "bytes */10")


@pytest.mark.parametrize("asked", ["bytes=4-2", "bytes=-", "bytes=0-1,3-4", "lines=1-2", "x"])
def test_range_that_is_ignored(server: Httpd, asked: str) -> None:
    response, body = server.fetch("/digits", Range=asked)
    assert (response.status, body) == (200, b"0123456789")


def test_range_of_another_version_is_ignored(server: Httpd) -> None:
    etag = server.fetch("/digits")[0].headers["ETag"]
    assert server.fetch("/digits", Range="bytes=1-2", If_Range=etag)[1] == b"12"
    assert server.fetch("/digits", Range="bytes=1-2", If_Range='"other"')[0].status == 200


def test_range_of_a_big_file_with_curl(server: Httpd, root: Path) -> None:
    start, stop = 1_000_001, 9_000_003
    part = subprocess.run(
        ["curl", "-s", "-m", str(LIMIT), "-r", f"{start}-{stop - 1}", server.url("/big.bin")],
        capture_output=True,
        timeout=2 * LIMIT,
        check=True,
    ).stdout
    assert part == (root / "big.bin").read_bytes()[start:stop]


# --- nothing outside the root -----------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E./secret.txt",
        "/..%2fsecret.txt",
        "/..%2Fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/folder/../../secret.txt",
        "/folder/inner/../../../secret.txt",
        "/folder-outside/secret.txt",
        "/folder-inside/../../secret.txt",
        "/outside.txt",
        "//../secret.txt",
        "/./../secret.txt",
        "/..//secret.txt",
        "/..",
        "/../",
        "/folder-outside/",
        "/folder-outside",
        "/../root/hello.txt",
        "/../root-sibling",
        "http://x/../secret.txt",
    ],
)
def test_no_path_escapes_the_root(server: Httpd, root: Path, target: str) -> None:
    for asked in (target, target.replace("secret.txt", "missing.txt")):
        answer = server.raw(
            f"GET {asked} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        # The same answer whether it exists or not: nobody can find out what is outside.
        assert status_of(answer) == 404
        assert SECRET not in answer
        assert b"secret.txt</a>" not in answer


def test_absolute_paths_are_below_the_root(server: Httpd, root: Path) -> None:
    for target in (f"/{root.parent}/secret.txt", f"{root.parent}/secret.txt", "//etc/passwd"):
        assert status_of(server.raw(f"GET {target} HTTP/1.0\r\n\r\n".encode())) == 404


def test_traversal_with_curl(server: Httpd) -> None:
    code = ("--output", os.devnull, "--write-out", "%{http_code}", "--path-as-is")
    assert curl(*code, server.url("/../secret.txt")) == "404"
    assert curl(*code, server.url("/folder/../hello.txt")) == "200"


def test_links_that_stay_inside_are_followed(server: Httpd) -> None:
    assert server.fetch("/inside.txt")[1] == b"hello\n"
    assert server.fetch("/folder-inside/a%20%26%20%3Cb%3E.txt")[1] == b"a & b"
    assert server.fetch("/folder/%2e%2e/hello.txt")[1] == b"hello\n"


# --- connections ------------------------------------------------------------------------------


def test_keep_alive_with_curl(server: Httpd) -> None:
    shown = curl(
        "--output", os.devnull, server.url("/hello.txt"),
        "--output", os.devnull, server.url("/nothing"),
        "--output", os.devnull, server.url("/big.bin"),
        "--write-out", "%{http_code} %{num_connects}\n",
    )  # fmt: skip
    assert shown.split("\n") == ["200 1", "404 0", "200 0", ""]


def test_keep_alive_with_http_client(server: Httpd) -> None:
    with closing(server.client()) as client:
        client.connect()
        sock = client.sock
        for path, status in (("/hello.txt", 200), ("/folder", 301), ("/nothing", 404)) * 10:
            client.request("GET", path)
            response = client.getresponse()
            response.read()
            assert response.status == status
            assert client.sock is sock
            client.request("HEAD", path)
            response = client.getresponse()
            response.read()
            assert response.status == status


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /hello.txt HTTP/1.0\r\n\r\n",
        b"GET /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: x, CLOSE\r\n\r\n",
        b"GET /hello.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
    ],
)
def test_connection_that_is_not_kept(server: Httpd, request_: bytes) -> None:
    answer = server.raw(request_)
    assert status_of(answer) == 200
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nhello\n")


def test_pipelined_requests_are_answered_in_order(server: Httpd) -> None:
    count = 200
    requests = b"".join(
        b"GET /digits HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-%d\r\n\r\n" % (n % 10, n % 10)
        for n in range(count)
    )
    last = b"HEAD /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = server.raw(requests + last)
    heads = re.split(rb"HTTP/1\.1 ", answer)[1:]
    assert len(heads) == count + 1
    for number, head in enumerate(heads[:-1]):
        assert head.startswith(b"206 ")
        assert head.endswith(b"\r\n\r\n%d" % (number % 10))
    assert heads[-1].startswith(b"200 ")
    assert heads[-1].endswith(b"\r\n\r\n")


def test_pipelined_requests_for_big_files(server: Httpd, root: Path) -> None:
    request = b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = server.raw(2 * request + b"GET /hello.txt HTTP/1.0\r\n\r\n")
    big = (root / "big.bin").read_bytes()
    parts = answer.split(b"\r\n\r\n", 1)[1]
    assert parts.startswith(big)
    parts = parts[len(big) :].split(b"\r\n\r\n", 1)[1]
    assert parts.startswith(big)
    assert parts.endswith(b"\r\n\r\nhello\n")


def test_request_in_many_small_pieces(server: Httpd) -> None:
    request = b"\r\nGET /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(len(request)):
            sock.send(request[number : number + 1])
        assert read_all(sock).endswith(b"\r\n\r\nhello\n")


def test_the_same_request_split_and_whole(server: Httpd) -> None:
    """The remembered answer to a whole request must not be taken for a part of one."""
    request = b"GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n"
    close = b"GET /digits HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with server.connect() as sock:
        for piece in (request, request + request[:10], request[10:] + request, close):
            sock.sendall(piece)
        answer = read_all(sock)
    assert answer.count(b"\r\n\r\nhello\n") == 4
    assert answer.endswith(b"\r\n\r\n0123456789")


def test_a_piece_of_a_request_is_no_request(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, with the pieces as the server gets them laid down."""
    monkeypatch.syspath_prepend(EXAMPLES)
    httpd = importlib.import_module("httpd")
    request = b"GET /digits HTTP/1.1\r\nHost: x\r\n\r\n"
    events: list[str] = []

    pieces = iter([request[:10], request[10:], request[:10], request[10:], request, request, b""])

    class Client:
        async def receive_some(self, size: int) -> bytes:
            events.append("recv")
            return next(pieces)

        async def send_all(self, data: bytes) -> None:
            assert data.endswith(b"\r\n\r\n0123456789")
            events.append("send")

    server = httpd.Server(httpd.Site(str(root)), quiet=True, cache=1000)
    tonio.run(server.converse(Client(), "client"), threads=1)
    assert " ".join(events) == "recv recv send recv recv send recv send recv send recv"
    assert list(server.recent) == [request]


def test_half_closed_client_gets_its_answer(server: Httpd) -> None:
    with server.connect() as sock:
        sock.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert len(read_all(sock)) > BIG


# --- bad requests -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"RUBBISH\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50, 400),  # TLS
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /hello.txt HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /hello.txt HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /hello.txt HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"GET /hello.txt HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /hello.txt HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400),
        (b"GET /hello.txt HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /hello.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zip\r\n\r\n", 501),
        (b"GET hello.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET ftp://x/hello.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /" + b"x" * 50_000, 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 50_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: x\r\n" * 20_000, 431),
        (b"GET /hello.txt HTTP/1.1\r\nHo", 400),  # and then the end
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_malformed_request(server: Httpd, request_: bytes, status: int) -> None:
    with server.connect() as sock:
        sock.sendall(request_)
        sock.shutdown(socket.SHUT_WR)
        answer = read_all(sock)
    assert status_of(answer) == status
    if status != 505:
        assert answer.count(b"HTTP/1.1 ") == 1
    assert server.fetch("/hello.txt")[1] == b"hello\n"


def test_connection_without_any_request(server: Httpd) -> None:
    for data in (b"", b"\r\n"):
        with server.connect() as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b""


# --- slow, rude and absent clients ------------------------------------------------------------


def test_slow_clients_hold_up_nobody_and_are_sent_away(root: Path) -> None:
    with Httpd(root, "--threads", "1", "--timeout", "1") as server:
        slow = [server.connect() for _ in range(50)]
        for number, sock in enumerate(slow):
            sock.sendall(b"GET /hello.txt HTTP/1.1\r\nHost: x\r\nX: "[: number + 1])
        assert server.fetch("/hello.txt")[1] == b"hello\n"
        # One goes on sending: that buys it no more time.
        dripping = slow.pop()
        while not select.select([dripping], [], [], 0.05)[0]:
            dripping.send(b"x")
        for sock in [dripping, *slow]:
            with sock:
                assert status_of(read_all(sock)) == 408


def test_idle_connections(root: Path) -> None:
    with Httpd(root, "--threads", "1", "--timeout", "0.5") as server:
        with server.connect() as sock:  # has never asked for anything
            assert status_of(read_all(sock)) == 408
        with server.connect() as sock:  # a 408 here might be taken for the next answer
            sock.sendall(b"GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = read_all(sock)
            assert answer.count(b"HTTP/1.1 ") == 1
            assert answer.endswith(b"hello\n")


def test_client_that_takes_nothing(root: Path) -> None:
    with Httpd(root, "--threads", "1", "--timeout", "1") as server, socket.socket() as sock:
        sock.settimeout(LIMIT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.fetch("/hello.txt")[1] == b"hello\n"
        server.log.wait_for("nothing taken for 1.0 seconds")
        assert server.fetch("/hello.txt")[1] == b"hello\n"


def test_client_that_disappears_in_the_middle(root: Path) -> None:
    with Httpd(root, "--threads", "2") as server:
        for _ in range(20):
            with server.connect() as sock:
                sock.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
                assert sock.recv(10) == b"HTTP/1.1 2"
                # Closing sends a reset, now.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for _ in range(20):
            server.log.wait_for(" lost: ")
        assert len(server.fetch("/big.bin")[1]) == BIG
    # Only what was sent to its end counts as answered.
    assert sum("GET /big.bin" in line for line in server.log.seen) == 1


def test_many_connections_at_once(server: Httpd) -> None:
    request = b"GET /digits HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    socks = [server.connect() for _ in range(300)]
    for sock in socks:
        sock.sendall(request)
    for sock in socks:
        with sock:
            assert read_all(sock).endswith(b"\r\n\r\n0123456789")


# --- the process ------------------------------------------------------------------------------


def test_interrupt_ends_it_whatever_the_connections_do(root: Path) -> None:
    with (
        Httpd(root, "--threads", "2") as server,
        server.connect() as idle,
        server.connect() as asking,
        server.connect() as reading,
    ):
        asking.sendall(b"GET /hel")
        reading.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        assert reading.recv(1) == b"H"
        server.stop()
        assert idle.recv(1) == b""
    assert not any("Exception ignored" in line for line in server.log.seen)


def test_quiet_logs_no_requests(root: Path) -> None:
    with Httpd(root, "--quiet") as server:
        assert server.fetch("/hello.txt")[0].status == 200
    assert server.log.seen == []


def test_requests_are_logged(root: Path) -> None:
    with Httpd(root) as server:
        for _ in range(2):  # made, and remembered
            server.fetch("/hello.txt")
            server.log.wait_for(r'^\d\d:\d\d:\d\d 127.0.0.1:\d+ "GET /hello.txt" 200 6$')
        server.raw(b"RUBBISH\r\n\r\n")
        server.log.wait_for(r" - 400 \d+$")


def test_errors_of_its_own_are_told_and_survived(root: Path) -> None:
    patch = "def broken(*_): raise RuntimeError('deliberate')\nhttpd.read_part = broken"
    with Httpd(root, patch=patch) as server:
        answer = server.raw(b"GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status_of(answer) == 500
        assert b"deliberate" not in answer
        server.log.wait_for("RuntimeError: deliberate")
        # Too late for a status: the connection ends short of what was promised.
        with pytest.raises((http.client.IncompleteRead, http.client.RemoteDisconnected)):
            server.fetch("/big.bin")
        server.log.wait_for("RuntimeError: deliberate")
        assert server.fetch("/folder/")[0].status == 200
        server.expect_traceback = True


def test_a_file_that_shrinks_while_it_is_sent(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "shrinks"
    path.write_bytes(b"x" * BIG)
    with Httpd(tmp_path) as server, server.connect() as sock:
        sock.sendall(b"GET /shrinks HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(1) == b"H"
        os.truncate(path, 1000)
        assert len(read_all(sock)) < BIG
        server.log.wait_for("EOFError: .*shrinks.* ended")
        server.expect_traceback = True


def test_remembered_answers(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with Httpd(tmp_path, "--cache", "1000") as server:
        assert server.fetch("/file")[1] == b"old"
        (tmp_path / "file").write_text("newer")
        assert server.fetch("/file")[1] == b"old"
        assert server.fetch("/file", X_Other="request")[1] == b"newer"
    with Httpd(tmp_path, "--cache", "0") as server:
        assert server.fetch("/file")[1] == b"newer"
        (tmp_path / "file").write_text("newest")
        assert server.fetch("/file")[1] == b"newest"
        (tmp_path / "file").unlink()
        assert server.fetch("/file")[0].status == 404


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_other_addresses(root: Path, host: str) -> None:
    with Httpd(root, "--host", host) as server:
        assert curl("--globoff", server.url("/hello.txt")) == "hello\n"


@needs_openssl
def test_https(root: Path) -> None:
    good = certificate()
    with Httpd(
        root, "--host", "localhost", "--tls", str(good.certificate), str(good.key)
    ) as server:
        url = f"https://localhost:{server.port}/hello.txt"
        assert curl("--cacert", str(good.certificate), "--http1.1", url) == "hello\n"
        curl(
            "--cacert",
            str(good.certificate),
            url.replace("hello.txt", "big.bin"),
            "-o",
            "/dev/null",
        )
        with pytest.raises(subprocess.CalledProcessError):
            curl(url)  # nobody knows this certificate
        with pytest.raises(subprocess.CalledProcessError):
            curl(url.replace("https", "http"))


def test_what_prevents_a_start_is_told(server: Httpd, root: Path) -> None:
    for arguments, message in (
        (("--root", str(root / "nothing")), "No such file"),
        (("--root", str(root / "hello.txt")), "Not a directory"),
        (("--root", str(root), "--port", str(server.port)), "in use"),
    ):
        process = start(str(EXAMPLES / "httpd.py"), *arguments)
        output, errors = process.communicate(timeout=LIMIT)
        assert (process.returncode, output) == (1, "")
        assert message in errors
        assert "Traceback" not in errors


# --- the demo ---------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small folder with sizes around those at which the server changes its ways."""
    generator = random.Random(1)
    for size in (0, 1, 65_000, 65_536, 262_143, 262_144, 262_145, 3_000_000):
        (tmp_path / f"{size}.bin").write_bytes(generator.randbytes(size))
    folder = tmp_path / "a folder" / "100% ?#ü"
    folder.mkdir(parents=True)
    for number in range(200):
        (folder / f"{number}.txt").write_text("x" * number)
    (tmp_path / "link").symlink_to("1.bin")
    return tmp_path


FILES_IN_TREE = 208


def run_demo(*arguments: str, patch: str = "") -> tuple[int, str, str]:
    code = f"import sys, demo, httpd\n{patch}\nsys.exit(demo.main(sys.argv[1:]))"
    process = start(*arguments, code=code)
    try:
        output, errors = process.communicate(timeout=2 * LIMIT)
    finally:
        process.kill()
    return process.returncode, output, errors


def test_demo(tree: Path) -> None:
    process = start(str(EXAMPLES / "demo.py"), "--root", str(tree), "--threads", "2")
    output, errors = process.communicate(timeout=2 * LIMIT)
    assert (process.returncode, errors) == (0, "")
    assert f"all {FILES_IN_TREE} digests equal" in output
    for label in ("bytes", "seconds", "requests/s", "MB/s", "median latency", "p99 latency"):
        assert re.search(rf"^  {label} +[\d.,]+( ms)?$", output, re.MULTILINE), output
    assert re.search(rf"^  files +{FILES_IN_TREE}$", output, re.MULTILINE)
    workers = re.findall(r"^  (\d) +([\d,]+) +([\d,]+)$", output, re.MULTILINE)
    assert [number for number, _, _ in workers] == ["0", "1"]
    assert all(int(executed.replace(",", "")) > 0 for _, executed, _ in workers), output


def test_demo_finds_a_wrong_byte(tree: Path) -> None:
    """The server sends one byte of one file wrong."""
    patch = """
read_part = httpd.read_part
def altered(file, start, stop):
    data = read_part(file, start, stop)
    return data if not file.name.endswith("3000000.bin") or start else b"?" + data[1:]
httpd.read_part = altered
"""
    code, output, errors = run_demo("--root", str(tree), "--threads", "2", patch=patch)
    assert code == 1
    assert "digests equal" not in output
    assert f"FAILED: 1 of {FILES_IN_TREE} files" in errors
    assert "3000000.bin: differs (3000000 bytes received)" in errors


def test_demo_reports_failing_requests(tree: Path) -> None:
    """The server fails for some files, before and after the head of its answer."""
    patch = """
read_part = httpd.read_part
def failing(file, start, stop):
    if file.name.endswith(("3000000.bin", "65000.bin")):
        raise OSError("deliberate")
    return read_part(file, start, stop)
httpd.read_part = failing
"""
    code, _, errors = run_demo("--root", str(tree), "--threads", "2", patch=patch)
    assert code == 1
    assert f"FAILED: 2 of {FILES_IN_TREE} files" in errors
    assert "65000.bin: status 500" in errors
    assert "3000000.bin: " in errors


def test_demo_notices_a_wrong_file_on_disk(tree: Path) -> None:
    patch = "demo.digest_on_disk = lambda path: b'not a digest'"
    code, _, errors = run_demo("--root", str(tree), "--threads", "2", patch=patch)
    assert code == 1
    assert f"FAILED: {FILES_IN_TREE} of {FILES_IN_TREE} files" in errors


def test_demo_without_files_fails(tmp_path: Path) -> None:
    code, _, errors = run_demo("--root", str(tmp_path))
    assert code == 1
    assert "no files" in errors


# --- the small examples -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hello.py", "hello_colored.py"])
def test_hello(name: str) -> None:
    process = start(str(EXAMPLES / name))
    output, errors = process.communicate(timeout=LIMIT)
    assert (process.returncode, errors) == (0, "")
    assert output.split("\n") == ["hello, Ada", "hello, Grace", "hello, Radia", ""]


def test_echo() -> None:
    process = start(str(EXAMPLES / "echo.py"), "0")
    assert process.stdout is not None
    assert process.stderr is not None
    output, errors = Lines(process.stdout), Lines(process.stderr)
    try:
        port = int(output.wait_for(r":(\d+)$")[1])
        with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as sock:
            for data in (b"hello", b"x" * 4096):
                sock.sendall(data)
                received = b""
                while len(received) < len(data):
                    received += sock.recv(65536)
                assert received == data
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 0
        assert output.rest()[-1] == "stopped"
        assert errors.rest() == []
    finally:
        process.kill()
        process.wait()
