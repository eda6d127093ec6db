"""An HTTP/1.1 server for the files below one folder, written on TonIO streams.

    python examples/httpd.py --root . --port 8000
    python examples/httpd.py --root . --port 8443 --tls certificate.pem key.pem

Read it from the disk to the network; each part knows nothing of the next:

* ``Site`` finds the file a request means and makes an ``Answer``. It is plain blocking code, and
  whole requests of it run as jobs of the blocking pool: no disk ever holds up a connection.
* ``Server`` talks. ``serve_listeners`` makes a task per connection, which reads requests and sends
  answers. The tasks run on all threads of the runtime at once; what they share is one dictionary.
* ``main`` reads the command line.

h11 reads the requests, which come from strangers; the heads of the answers are our own words and
always carry their length, so a few joined lines write them. Most of the time of a small request
is h11's, so the server remembers for a moment what it answered: a request that is the same to the
last byte as one of a second ago gets the same bytes again (``Server.recent``).

Ctrl-C ends it: requests that have begun are answered first. Listening sockets that the process was
started with (``LISTEN_FDS``) are used instead of new ones, so it can be replaced by another one
while clients go on.
"""

import argparse
import errno
import html
import io
import mimetypes
import os
import re
import ssl
import stat
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate, mktime_tz, parsedate_tz
from http import HTTPStatus
from time import monotonic, strftime
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import h11

import tonio.colored as tonio
from tonio.colored import net, time
from tonio.colored.net import tls
from tonio.exceptions import ResourceBroken

type Stream = net.SocketStream | tls.TLSStream[net.SocketStream]
type Listener = net.SocketListener | tls.TLSListener[net.SocketListener]

RECEIVE_SIZE = 16 * 1024  # one recv; with MAX_HEAD it bounds what an unanswered peer makes us keep
MAX_HEAD = 16 * 1024  # an incomplete request head larger than this is refused (414, 431)
MAX_TARGET = 8 * 1024  # a longer request target is refused (414)
FILE_CHUNK = 256 * 1024  # larger files are read and sent in pieces of this size
MAX_RECENT = 1024  # answers kept ...
MAX_RECENT_SIZE = 64 * 1024  # ... of at most this size each
LINGER_SECONDS = 2.0  # how long a closing connection may go on sending ...
LINGER_SIZE = 1024 * 1024  # ... and how much

NO_SUCH_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}


def log(message: str) -> None:
    """Writes one line to standard error; one call, so that the lines of two threads never mix."""
    sys.stderr.write(f"{strftime('%H:%M:%S')} {message}\n")


def share_keys(*tables: Mapping[Any, Any]) -> list[Any]:
    """Makes ``table.get(key)`` as fast in all threads as in the one that has made the table.

    To look at a key that is no string, and that only another thread refers to, CPython 3.13t
    spins on a lock for 20 microseconds. h11 does that several times per request. It does not
    happen while a second thread has a reference to the key too: the list that is returned here.
    """
    keys: list[Any] = []
    thread = threading.Thread(target=lambda: keys.extend(key for table in tables for key in table))
    thread.start()
    thread.join()
    return keys


H11_KEYS = share_keys(h11._readers.READERS, h11._writers.WRITERS)


# --- answers ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes ``start`` to ``stop`` of an open file: a body too large to be held in memory."""

    file: io.FileIO
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A response before it is written. ``size`` is what its Content-Length says, if it has one."""

    status: HTTPStatus
    headers: Sequence[tuple[str, str]] = ()
    size: int | None = None
    body: bytes | FilePart = b""

    def head(self, *, keep_alive: bool) -> bytes:
        """The status line and the header lines, with the empty line that ends them."""
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Date: {formatdate(usegmt=True)}",
        ]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.size is not None:
            lines.append(f"Content-Length: {self.size}")
        if not keep_alive:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def page(status: HTTPStatus, title: str, content: str = "", **headers: str) -> Answer:
    """A small HTML page. Keyword arguments are headers, ``_`` for ``-``."""
    body = (
        f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body><h1>{title}</h1>\n{content}</body></html>\n"
    ).encode("utf-8", "replace")
    extra = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Answer(status, [("Content-Type", "text/html; charset=utf-8"), *extra], len(body), body)


def failure(status: HTTPStatus, **headers: str) -> Answer:
    """The answer to a request that cannot be fulfilled."""
    return page(status, f"{status.value} {status.phrase}", **headers)


class HTTPError(Exception):
    """Raised on the way to an answer when another one is due."""

    def __init__(self, status: HTTPStatus, **headers: str) -> None:
        super().__init__(status)
        self.answer = failure(status, **headers)


# --- requests ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """What of a request matters here. Header names are in lower case."""

    method: str
    target: str
    version: str
    headers: Mapping[str, str]

    @classmethod
    def from_h11(cls, event: h11.Request) -> "Request":
        headers: dict[str, str] = {}
        for raw_name, raw_value in event.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            # A header that comes twice means the list of both.
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return cls(
            event.method.decode("ascii"),
            event.target.decode("latin-1"),
            event.http_version.decode("ascii"),
            headers,
        )

    def header(self, name: str) -> str | None:
        # Not headers.get(): it is slow for a dictionary of another thread (see share_keys).
        return self.headers[name] if name in self.headers else None  # noqa: SIM401

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow on the same connection."""
        options = (self.header("connection") or "").lower().split(",")
        return self.version >= "1.1" and "close" not in (option.strip() for option in options)

    def path(self) -> tuple[list[str], bool]:
        """The names on the way from the root to the file; and whether the target ends with ``/``.

        Percent-encoding is undone first and ``..`` resolved then, so that no way of writing it
        gets by; what would climb above the root does not exist.
        """
        target = self.target
        if not target.startswith("/"):  # http://host/path, as sent to proxies, or rubbish
            absolute = re.fullmatch(r"https?://[^/?#]*(.*)", target, re.IGNORECASE)
            if absolute is None:
                raise HTTPError(HTTPStatus.BAD_REQUEST)
            target = absolute[1] or "/"
        path = os.fsdecode(unquote_to_bytes(re.split(r"[?#]", target, maxsplit=1)[0]))
        if "\0" in path:
            raise HTTPError(HTTPStatus.BAD_REQUEST)
        names: list[str] = []
        for name in path.split("/"):
            if name == "..":
                if not names:
                    raise HTTPError(HTTPStatus.NOT_FOUND)
                names.pop()
            elif name not in ("", "."):
                names.append(name)
        return names, path.endswith(("/", "/.", "/.."))


def parse_date(text: str | None) -> int | None:
    """The seconds of an HTTP date; None if there is none or it makes no sense."""
    try:
        parsed = parsedate_tz(text or "")
        return None if parsed is None else int(mktime_tz(parsed))
    except (ValueError, OverflowError):
        return None


def has_tag(listed: str, etag: str) -> bool:
    """Whether an If-Match or If-None-Match header names this version."""
    return any(tag.strip() in ("*", etag) for tag in listed.split(","))


def check_conditions(request: Request, etag: str, modified: int) -> HTTPStatus | None:
    """The status that the request's conditions ask for instead of the file, if they do."""
    if_match, if_none_match = request.header("if-match"), request.header("if-none-match")
    since = parse_date(request.header("if-modified-since"))
    unmodified_since = parse_date(request.header("if-unmodified-since"))
    # Where both forms of a condition are given, the one with the exact tag decides.
    if if_match is not None:
        if not has_tag(if_match, etag):
            return HTTPStatus.PRECONDITION_FAILED
    elif unmodified_since is not None and modified > unmodified_since:
        return HTTPStatus.PRECONDITION_FAILED
    if if_none_match is not None:
        if has_tag(if_none_match.replace("W/", ""), etag):
            return HTTPStatus.NOT_MODIFIED
    elif since is not None and modified <= since:
        return HTTPStatus.NOT_MODIFIED
    return None


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Start and stop of a single byte range; None if the header is one we may ignore."""
    parsed = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", text.strip(), re.IGNORECASE)
    if parsed is None or parsed[0].endswith("=-"):
        return None
    first, last = parsed[1], parsed[2]
    if not first:  # the last so many bytes
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise HTTPError(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, Content_Range=f"bytes */{size}")
    return start, stop


# --- the files --------------------------------------------------------------------------------


def content_type(path: str) -> str:
    kind, encoding = mimetypes.guess_file_type(path)
    if encoding or not kind:  # a .gz is sent as what it is, not as a promise to unpack it
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


class Site:
    """The folder that is served. Its methods block and are for the blocking pool.

    The files may change while they are served; but who can write there is trusted not to swap
    a folder for a link between the check of a path and the opening of the file.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root, strict=True)
        if not os.path.isdir(self.root):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), root)
        mimetypes.init()  # here, rather than in the first few jobs at the same time

    def answer(self, request: Request) -> Answer:
        """The answer to a request, perhaps with a body for HEAD too. Raises what is our fault."""
        try:
            return self._find(request)
        except HTTPError as error:
            return error.answer
        except PermissionError:
            return failure(HTTPStatus.FORBIDDEN)
        except OSError as error:
            if error.errno not in NO_SUCH_FILE:
                raise
            return failure(HTTPStatus.NOT_FOUND)

    def _find(self, request: Request) -> Answer:
        if not request.version.startswith("1."):
            raise HTTPError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        if request.method not in ("GET", "HEAD"):
            raise HTTPError(HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD")
        if len(request.target) > MAX_TARGET:
            raise HTTPError(HTTPStatus.REQUEST_URI_TOO_LONG)

        names, wants_folder = request.path()
        path, info = self._resolve(names)
        if stat.S_ISDIR(info.st_mode):
            if not wants_folder:
                return self._redirect(names, request.target)
            try:
                path, info = self._resolve([*names, "index.html"])
            except FileNotFoundError:
                return self._listing(names, path)
        elif wants_folder:
            raise HTTPError(HTTPStatus.NOT_FOUND)
        if not stat.S_ISREG(info.st_mode):  # opening a pipe or a device would do something
            raise HTTPError(HTTPStatus.FORBIDDEN)
        return self._file(path, request)

    def _resolve(self, names: Sequence[str]) -> tuple[str, os.stat_result]:
        """Where the names lead from the root, without links, and what is there."""
        path, info = self.root, os.stat(self.root)
        for name in names:
            path = os.path.join(path, name)
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                break
        else:
            return path, info  # only down, and no link: it cannot be outside
        path = os.path.realpath(os.path.join(self.root, *names), strict=True)
        if not f"{path}/".startswith(f"{self.root.rstrip('/')}/"):
            raise HTTPError(HTTPStatus.NOT_FOUND)  # and not "forbidden": that would tell it exists
        return path, os.stat(path)

    def _redirect(self, names: list[str], target: str) -> Answer:
        """To the same folder, with the slash which makes the links in its page work."""
        # From the clean names: an echoed "//host" would lead to another server.
        folder = "".join(f"{quote(name, errors='surrogateescape')}/" for name in names)
        _, mark, query = target.partition("?")
        return failure(HTTPStatus.MOVED_PERMANENTLY, Location=f"/{folder}{mark}{query}")

    def _listing(self, names: list[str], path: str) -> Answer:
        with os.scandir(path) as entries:
            found = sorted(entry.name + "/" * entry.is_dir() for entry in entries)
        if names:
            found.insert(0, "../")
        # "./" in front: a file may be called "javascript:...".
        rows = "\n".join(
            f'<li><a href="./{quote(name, errors="surrogateescape")}">{html.escape(name)}</a></li>'
            for name in found
        )
        title = html.escape("/".join(["Index of ", *names, ""]))
        return page(HTTPStatus.OK, title, f"<ul>\n{rows}\n</ul>\n")

    def _file(self, path: str, request: Request) -> Answer:
        file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
        keep_open = False
        try:
            info = os.fstat(file.fileno())
            size, modified = info.st_size, int(info.st_mtime)
            etag = f'"{info.st_mtime_ns:x}-{size:x}"'
            headers = [("ETag", etag), ("Last-Modified", formatdate(modified, usegmt=True))]
            instead = check_conditions(request, etag, modified)
            if instead is HTTPStatus.NOT_MODIFIED:
                return Answer(instead, headers)
            if instead is not None:
                raise HTTPError(instead)

            headers += [("Content-Type", content_type(path)), ("Accept-Ranges", "bytes")]
            status, start, stop = HTTPStatus.OK, 0, size
            if request.method == "HEAD":  # there is no body to be read
                return Answer(status, headers, size)
            asked, if_range = request.header("range"), request.header("if-range")
            if asked is not None and if_range in (None, etag, headers[1][1]):
                part = parse_range(asked, size)
                if part is not None:
                    status, (start, stop) = HTTPStatus.PARTIAL_CONTENT, part
                    headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))

            keep_open = stop - start > FILE_CHUNK
            body = FilePart(file, start, stop) if keep_open else read_part(file, start, stop)
            return Answer(status, headers, stop - start, body)
        finally:
            if not keep_open:
                file.close()


def read_part(file: io.FileIO, start: int, stop: int) -> bytes:
    """Exactly these bytes of a file. Blocks."""
    data = os.pread(file.fileno(), stop - start, start)
    if len(data) != stop - start:
        raise EOFError(f"{file.name!r} ended at {start + len(data)}, {stop} expected")
    return data


# --- the network ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was sent in answer to a request, to be sent again until ``expires``."""

    expires: float
    payload: bytes
    log_text: str


class Server:
    """Serves a site on listening sockets, one task per connection.

    ``patience`` is how many seconds a connection may be idle between two requests, take for the
    head of one, or leave a piece of an answer untaken. An answer is at most ``cache`` seconds
    older than the file; 0 looks at the disk for every request.
    """

    def __init__(
        self, site: Site, *, patience: float = 30.0, cache: float = 1.0, quiet: bool = False
    ) -> None:
        self.site = site
        self.patience = patience
        self.cache = cache
        self.quiet = quiet
        self.stopping = False  # no answer promises that there will be another one
        # The key is a whole request and nothing after it, so that what arrives as these bytes
        # needs no parsing. Single operations of a dictionary are safe from all threads.
        self.recent: dict[bytes, Remembered] = {}

    async def serve(self, listeners: Sequence[Listener], grace: float = 0.0) -> None:
        """Serves until it is cancelled; who is being answered then has ``grace`` seconds."""
        async with tonio.scope() as scope:
            scope.spawn(self.notice_the_end())
            await net.serve_listeners(self.handle, listeners, grace=grace)

    async def notice_the_end(self) -> None:
        try:
            await tonio.Event().wait()
        finally:
            self.stopping = True

    async def handle(self, stream: Stream) -> None:
        """The task of one connection. Whatever goes wrong in it ends here, and is told."""
        peer = "somebody"
        try:
            plain = stream.transport if isinstance(stream, tls.TLSStream) else stream
            host, port, *_ = plain.socket.getpeername()
            peer = f"{host}:{port}"
            await self.converse(stream, peer)
            await hang_up(stream)
        except (OSError, ResourceBroken) as error:
            log(f"{peer} lost: {error}")
        except Exception:  # noqa: BLE001 - ours; it costs this connection only
            log(f"{peer} dropped:\n{traceback.format_exc()}")

    async def converse(self, stream: Stream, peer: str) -> None:
        """Answers requests in the order they come, until one of the sides wants no more."""
        received: bytes | None = b""
        first = True
        while received is not None:
            if not received:
                received, _ = await time.timeout(stream.receive_some(RECEIVE_SIZE), self.patience)
                if received is None and first:
                    await self.refuse(stream, peer, HTTPStatus.REQUEST_TIMEOUT)
                if not received:  # it is gone, or had nothing more to ask for a long time
                    return
            received = received.lstrip(b"\r\n")  # some send an empty line after a body
            if not received:
                continue
            first = False

            try:
                known = self.recent[received]  # not get(): see share_keys
            except KeyError:
                known = None
            if known is not None and monotonic() < known.expires and not self.stopping:
                received = b""
                await self.send(stream, known.payload)
                self.log_request(peer, known.log_text)
            else:
                received = await self.exchange(stream, peer, received)

    async def exchange(self, stream: Stream, peer: str, received: bytes) -> bytes | None:
        """Answers the request that begins with ``received``.

        Returns what came after it, for the next time; None if the connection is to be closed.
        """
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        deadline = monotonic() + self.patience
        try:
            parser.receive_data(received)
            while (event := parser.next_event()) is h11.NEED_DATA:
                more, _ = await time.timeout(
                    stream.receive_some(RECEIVE_SIZE), max(deadline - monotonic(), 0.0)
                )
                if more is None:
                    await self.refuse(stream, peer, HTTPStatus.REQUEST_TIMEOUT)
                    return None
                parser.receive_data(more)
                received += more
            assert isinstance(event, h11.Request)
            # Nobody sends a body with GET: rather than read it, we close after the answer.
            has_body = not isinstance(parser.next_event(), h11.EndOfMessage)
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            too_large = status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            if too_large and b"\n" not in parser.trailing_data[0]:
                status = HTTPStatus.REQUEST_URI_TOO_LONG
            await self.refuse(stream, peer, status)
            return None

        request = Request.from_h11(event)
        keep_alive = request.keep_alive and not has_body and not self.stopping
        asked = monotonic()
        try:
            answer = await tonio.spawn_blocking(self.site.answer, request)
        except Exception:  # noqa: BLE001 - told to both sides
            log(f"{peer} {request.method} {request.target}:\n{traceback.format_exc()}")
            answer = failure(HTTPStatus.INTERNAL_SERVER_ERROR)
            keep_alive = False

        head = answer.head(keep_alive=keep_alive)
        log_text = f'"{request.method} {request.target}" {answer.status.value} {answer.size or 0}'
        rest, body = parser.trailing_data[0], answer.body
        if isinstance(body, FilePart):
            await self.send_file(stream, head, body)
        else:
            payload = head if request.method == "HEAD" else head + body
            await self.send(stream, payload)
            if keep_alive and not rest:
                self.remember(received, Remembered(asked + self.cache, payload, log_text))
        self.log_request(peer, log_text)
        return rest if keep_alive else None

    def remember(self, received: bytes, answer: Remembered) -> None:
        if len(answer.payload) <= MAX_RECENT_SIZE and monotonic() < answer.expires:
            if len(self.recent) >= MAX_RECENT:
                self.recent.clear()
            self.recent[received] = answer

    async def refuse(self, stream: Stream, peer: str, status: HTTPStatus) -> None:
        """Answers something that is no request."""
        answer = failure(status)
        assert isinstance(answer.body, bytes)
        await self.send(stream, answer.head(keep_alive=False) + answer.body)
        self.log_request(peer, f"- {status.value} {answer.size}")

    async def send_file(self, stream: Stream, head: bytes, part: FilePart) -> None:
        with part.file as file:
            for start in range(part.start, part.stop, FILE_CHUNK):
                stop = min(start + FILE_CHUNK, part.stop)
                chunk = await tonio.spawn_blocking(read_part, file, start, stop)
                await self.send(stream, head + chunk)
                head = b""

    async def send(self, stream: Stream, data: bytes) -> None:
        _, in_time = await time.timeout(stream.send_all(data), self.patience)
        if not in_time:
            raise TimeoutError(f"nothing taken for {self.patience} seconds")

    def log_request(self, peer: str, text: str) -> None:
        if not self.quiet:
            log(f"{peer} {text}")


async def hang_up(stream: Stream) -> None:
    """Ends a connection so that the last answer arrives.

    Closing at once would be an error to a peer that still sends, and it might then throw away
    what it has not read yet. So only our direction is closed; then we wait for its end.
    """
    if (ending := stream.send_eof()) is not None:  # TLS has to say something
        await ending
    deadline = monotonic() + LINGER_SECONDS
    size = 0
    while size < LINGER_SIZE and (left := deadline - monotonic()) > 0:
        data, _ = await time.timeout(stream.receive_some(RECEIVE_SIZE), left)
        if not data:
            return
        size += len(data)


async def listen(
    host: str, port: int, context: ssl.SSLContext | None = None
) -> tuple[list[Listener], str]:
    """Listeners, and the URL that leads to them."""
    plain = net.inherited_listeners() or await net.open_tcp_listeners(port, host=host)
    host, port = plain[0].socket.getsockname()[:2]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if context is None:
        return list(plain), f"http://{place}/"
    secure = [tls.TLSListener(listener, context, https_compatible=True) for listener in plain]
    return list(secure), f"https://{place}/"


# --- the command line -------------------------------------------------------------------------


async def serve_forever(
    server: Server, host: str, port: int, context: ssl.SSLContext | None, grace: float
) -> None:
    listeners, url = await listen(host, port, context)
    print(f"serving {server.site.root} on {url}", flush=True)
    await server.serve(listeners, grace)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Serves the files below a folder over HTTP/1.1.")
    parser.add_argument("--root", default=".", help="the folder to serve (default: this one)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one")
    parser.add_argument("--threads", type=int, help="default: one per processor")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds a peer may be idle")
    parser.add_argument("--cache", type=float, default=1.0, help="seconds to remember an answer")
    parser.add_argument("--grace", type=float, default=5.0, help="seconds to end after Ctrl-C")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="files for HTTPS")
    parser.add_argument("--quiet", action="store_true", help="only log what goes wrong")
    options = parser.parse_args(arguments)
    try:
        site = Site(options.root)
        server = Server(site, patience=options.timeout, cache=options.cache, quiet=options.quiet)
        context = None
        if options.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*options.tls)
            context.set_alpn_protocols(["http/1.1"])
        serving = serve_forever(server, options.host, options.port, context, options.grace)
        tonio.run(serving, threads=options.threads)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    except OSError as error:
        print(f"httpd: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
