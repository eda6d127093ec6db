"""Generated addresses, messages and options: sockets do what those of the standard module do.

Each example is carried out on a pair of twins, a socket of the standard module and one of ours;
what comes of every call is compared. Errors of the system must be the same; errors in arguments
need not be of the same class, since two of them may be found in another order. Where ours are
meant to differ, the tests say so. `TONIO_EXAMPLES` is the number of examples per test.
"""

import array
import errno
import os
import socket as stdlib_socket
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, contextmanager, suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tonio
from tonio.net import socket

EXAMPLES = int(os.environ.get("TONIO_EXAMPLES", "100"))

generated = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

Outcome = tuple[str, Any]

WRONG = ("wrong argument", None)


def outcome(call: Callable[..., Any], *arguments: Any) -> Outcome:
    """What comes of a call, as something that can be compared; an operation is carried out."""
    try:
        result = call(*arguments)
        if hasattr(result, "__await__"):
            result = tonio.run(result, threads=1)
    except OSError as error:
        # Without a number it does not come from the system: "AF_UNIX path too long".
        return WRONG if error.errno is None else (type(error).__name__, error.errno)
    except (TypeError, ValueError, OverflowError, BufferError):
        return WRONG
    return "result", result


# A few of each sort. Not st.text(), which takes its time to find out what all characters are.
CHARACTERS = "aZ09.:%-_~ \\\x01\x7f\xe4\xdf\u20ac\u4e2d\u200d\U0001d11e\0\udc80\udcff\ud800"


def texts(most: int, least: int = 0, of: str = CHARACTERS) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(of), min_size=least, max_size=most).map("".join)


def one(choice: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Keeps its alternatives from counting as those of a larger choice."""
    return st.tuples(choice).map(lambda item: item[0])


def mostly(right: st.SearchStrategy[Any], *wrong: st.SearchStrategy[Any]) -> Any:
    """`right`, nine times out of ten."""
    return st.one_of(*[one(right) for _ in range(9)], one(st.one_of(*wrong)))


JUNK = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    texts(5),
    st.binary(max_size=5),
    st.just(object()),
    st.lists(st.integers(0, 3), max_size=5),
)

# --- addresses --------------------------------------------------------------------------------


def numbers(most: int) -> st.SearchStrategy[Any]:
    return mostly(
        st.one_of(st.integers(0, most), st.sampled_from([0, 1, most])),
        st.integers(),
        st.integers(-2, most + 2),
        st.booleans(),
        one(JUNK),
    )


def tuples(*items: st.SearchStrategy[Any], least: int) -> st.SearchStrategy[Any]:
    """All of the items, or fewer; sometimes one too few or too many."""
    sizes = [tuple(items[:size]) for size in range(least, len(items) + 1)]
    return mostly(
        st.one_of(*[st.tuples(*some) for some in sizes]),
        st.tuples(*items[: least - 1]),
        st.tuples(*items, JUNK),
    )


PART = st.one_of(
    st.integers(0, 300).map(str),
    st.integers(0, 1 << 33).map(str),
    st.integers(0, 1 << 33).map(hex),
    st.integers(0, 300).map(lambda number: f"0{number:o}"),
)
LAST = st.integers(0, 255)
HOST4 = st.one_of(
    one(st.ip_addresses(v=4).map(str)),
    LAST.map(lambda last: f"127.0.0.{last}"),
    LAST.map(lambda last: f"127.0.{last}"),
    st.lists(one(PART), min_size=1, max_size=4).map(".".join),
    st.sampled_from(["", "<broadcast>", "255.255.255.255", "0", "127.1", "::1", "127.0.0.1 "]),
)
SCOPE = st.sampled_from(["", "", "", "%lo", "%1", "%0", "%no_such_device", "%", "%4294967296"])
HOST6 = st.one_of(
    st.tuples(one(st.ip_addresses(v=6).map(str)), SCOPE).map("".join),
    st.tuples(
        st.sampled_from(["", "::", "::1", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "127.0.0.1"]),
        SCOPE,
    ).map("".join),
    st.sampled_from(["", "::", "::1", "::", "::1", "<broadcast>", "1::2::3"]),
    texts(20, of="0123456789abcdef:.%"),
)


def hosts(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return mostly(
        st.one_of(one(text), one(text), text.map(str.encode)),
        text.map(lambda host: bytearray(host.encode())),
        text.map(lambda host: host + "\0"),
        JUNK,
    )


PORT = numbers(65535)
# Without a slash: a path names what is in the folder of the test.
PATH = st.one_of(
    texts(40),
    texts(40, of="\udc80\udcff"),
    texts(112, 100, of="xy"),
    st.binary(max_size=112).map(lambda path: path.replace(b"/", b"|")),
)
BYTES = st.binary(max_size=20).map(lambda path: path.replace(b"/", b"|"))
UNIX = mostly(
    st.one_of(PATH, PATH.map(lambda path: "\0" + path if isinstance(path, str) else b"\0" + path)),
    BYTES.map(bytearray),
    BYTES.map(memoryview),
    BYTES.map(lambda path: memoryview(path)[::2]),
    JUNK.filter(lambda junk: "/" not in str(junk)),
)
INTERFACE = mostly(
    st.sampled_from(["lo", "", "no_such_device"]), st.sampled_from(["x" * 16, "l\0o", b"lo", 5])
)
WORD = numbers(0xFFFFFFFF)

# Family, kind, protocol, addresses.
FAMILIES: dict[str, tuple[int, int, st.SearchStrategy[Any]]] = {
    "AF_INET": (socket.SOCK_DGRAM, 0, tuples(hosts(HOST4), PORT, least=2)),
    "AF_INET6": (
        socket.SOCK_DGRAM,
        0,
        tuples(hosts(HOST6), PORT, numbers(0xFFFFF), WORD, least=2),
    ),
    "AF_UNIX": (socket.SOCK_DGRAM, 0, UNIX),
    "AF_NETLINK": (socket.SOCK_RAW, 2, tuples(WORD, WORD, least=2)),
    "AF_VSOCK": (socket.SOCK_STREAM, 0, tuples(WORD, WORD, least=2)),
    "AF_PACKET": (
        socket.SOCK_RAW,
        0,
        tuples(
            INTERFACE,
            numbers(65535),
            numbers(255),
            numbers(65535),
            mostly(st.binary(max_size=9), st.binary(max_size=9).map(bytearray), JUNK),
            least=2,
        ),
    ),
    "AF_CAN": (socket.SOCK_RAW, 1, tuples(INTERFACE, least=1)),
    "AF_ALG": (
        socket.SOCK_SEQPACKET,
        0,
        tuples(
            mostly(texts(15), JUNK),
            mostly(texts(70), JUNK),
            WORD,
            WORD,
            least=2,
        ),
    ),
}
MOST = {
    "AF_INET6": (None, None, None, 0xFFFFFFFF),
    "AF_NETLINK": (0xFFFFFFFF, 0xFFFFFFFF),
    "AF_VSOCK": (0xFFFFFFFF, 0xFFFFFFFF),
    "AF_PACKET": (None, 65535, 255, 65535),
    "AF_ALG": (None, None, 0xFFFFFFFF, 0xFFFFFFFF),
}

ADDRESSES = mostly(
    st.one_of(*[st.tuples(st.just(name), one(some)) for name, (*_, some) in FAMILIES.items()]),
    st.tuples(st.sampled_from(sorted(FAMILIES)), JUNK.filter(lambda junk: "/" not in str(junk))),
)


def opened(module: Any, family: str) -> Any:
    """A socket of the family. Where the system has none: one that only says so."""
    kind, protocol, _ = FAMILIES[family]
    number = getattr(socket, family)
    try:
        return module.socket(number, kind, protocol)
    except OSError:
        plain = stdlib_socket.socket(stdlib_socket.AF_INET6, stdlib_socket.SOCK_DGRAM)
        return module.socket(number, kind, protocol, fileno=plain.detach())


def host_is_a_name(family: str, address: Any) -> bool:
    """Would somebody have to be asked for it?"""
    if family not in {"AF_INET", "AF_INET6"} or not isinstance(address, tuple) or not address:
        return False
    host = address[0]
    if not isinstance(host, str | bytes | bytearray):
        return False
    host = bytes(host) if isinstance(host, bytearray) else host
    if host in {"", b"", "<broadcast>", b"<broadcast>"}:
        return False
    try:
        stdlib_socket.getaddrinfo(
            host, None, getattr(socket, family), socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST
        )
    except stdlib_socket.gaierror as error:
        return error.errno == socket.EAI_NONAME
    except (TypeError, ValueError):
        pass
    return False


def is_too_strict_for_the_standard_module(family: str, address: Any) -> bool:
    """Ours refuse what does not fit and null bytes; there, bits are dropped, or the end is."""
    if family == "AF_UNIX":
        path = os.fsencode(address) if isinstance(address, str) else bytes(address)
        return b"\0" in path and not path.startswith(b"\0")
    for item, most in zip(address, MOST.get(family, ()), strict=False):
        if most is None or not isinstance(item, int):
            continue
        least = -(1 << 31) if most == 0xFFFFFFFF else 0
        if not least <= item <= most:
            return True
    return False


def scope_in_the_host(address: Any) -> Any:
    """The same address with the scope as a number. The standard module forgets it otherwise."""
    with suppress(OSError, TypeError, ValueError, IndexError):
        host = address[0].decode() if isinstance(address[0], bytes | bytearray) else address[0]
        if "%" in host and "\0" not in host and len(address) <= 4:
            (*_, found), *_ = stdlib_socket.getaddrinfo(
                host, None, socket.AF_INET6, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST
            )
            port, flow, scope = [*address[1:], 0, 0][:3]
            number = found[0] if isinstance(address[0], str) else found[0].encode()
            return (number, port, flow, scope or found[3])
    return address


def use_address(module: Any, family: str, method: str, address: Any) -> list[Outcome]:
    with closing(opened(module, family)) as sock:
        outcomes = [outcome(getattr(sock, method), address)]
        if outcomes[0][0] == "result":
            outcomes.append(name_of(outcome(sock.getsockname), method, address))
            outcomes.append(outcome(sock.getpeername))
    for name in os.listdir(b"."):
        os.unlink(name)
    return outcomes


def name_of(found: Outcome, method: str, address: Any) -> Outcome:
    """Without what the system has chosen: a port, a Unix name."""
    name = found[1]
    if isinstance(name, bytes) and not address:
        return "chosen", len(name)
    if not isinstance(name, tuple) or len(name) not in {2, 4}:
        return found
    if method == "connect" or address[1] in {0, -1, 0xFFFFFFFF}:
        return "chosen", [type(item) for item in name]
    return found


def test_addresses() -> None:
    @generated
    @given(ADDRESSES, st.sampled_from(["bind", "connect"]))
    def check(generated_address: tuple[str, Any], method: str) -> None:
        family, address = generated_address
        if family == "AF_VSOCK":
            method = "bind"  # it would wait for a machine
        with closing(opened(socket, family)) as sock, warnings.catch_warnings():
            # A name is told from a wrong address at once; asking for it is not for here.
            warnings.simplefilter("ignore", RuntimeWarning)
            if host_is_a_name(family, address):
                outcome(lambda: repr(getattr(sock, method)(address)))
                return
        known = scope_in_the_host(address) if family == "AF_INET6" else address
        theirs = use_address(stdlib_socket, family, method, known)
        ours = use_address(socket, family, method, address)
        if ours == theirs:
            return
        if family == "AF_CAN" and theirs == [WRONG]:  # a name that is too long for a device
            assert ours == [("OSError", errno.ENODEV)]
        elif family == "AF_PACKET" and theirs == [("OSError", errno.ENODEV)]:
            assert ours == [WRONG]  # something else is wrong, too, and found first
        else:
            assert ours == [WRONG], (ours, theirs)
            assert is_too_strict_for_the_standard_module(family, address), (ours, theirs)

    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        check()


# --- names ------------------------------------------------------------------------------------


def has_null(*texts: Any) -> bool:
    return any(
        0 in text if isinstance(text, bytes | bytearray) else "\0" in text
        for text in texts
        if isinstance(text, str | bytes | bytearray)
    )


def has_empty_label(host: Any) -> bool:
    """Theirs does not ask for such a name."""
    return isinstance(host, str) and "" in host.removesuffix(".").split(".")


def sorted_answers(found: Outcome) -> Any:
    return sorted(map(repr, found[1])) if isinstance(found[1], list) else found


def test_numeric_lookups() -> None:
    """Only such as need no name server."""

    @generated
    @given(
        st.one_of(one(hosts(HOST4)), one(hosts(HOST6))),
        mostly(
            st.integers(0, 65535),
            st.integers(-2, 70000),
            st.sampled_from(["80", "http", b"25", "", "x\0"]),
            JUNK,
        ),
        st.tuples(
            st.sampled_from([0, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, -1]),
            st.sampled_from([0, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, 77]),
            st.sampled_from([0, socket.IPPROTO_TCP, socket.IPPROTO_UDP, 255]),
        ),
        st.sampled_from([0, socket.AI_PASSIVE, socket.AI_CANONNAME, socket.AI_V4MAPPED]),
    )
    def check(host: Any, port: Any, kind: tuple[int, int, int], flags: int) -> None:
        arguments = (host, port, *kind, flags | socket.AI_NUMERICHOST)
        theirs = outcome(stdlib_socket.getaddrinfo, *arguments)
        ours = outcome(socket.getaddrinfo, *arguments)
        if isinstance(host, bytearray):
            return  # theirs takes them in addresses only
        if ours == WRONG and has_null(host, port):
            return  # theirs leaves out what comes after it
        if theirs == WRONG and ours == ("gaierror", socket.EAI_NONAME):
            assert has_empty_label(host)
            return
        assert sorted_answers(ours) == sorted_answers(theirs)

    check()


def test_numeric_names() -> None:
    @generated
    @given(st.one_of(FAMILIES["AF_INET"][2], FAMILIES["AF_INET6"][2], JUNK), st.integers(0, 31))
    def check(address: Any, flags: int) -> None:
        if host_is_a_name("AF_INET6", address) or host_is_a_name("AF_INET", address):
            return
        flags |= socket.NI_NUMERICHOST
        theirs = outcome(stdlib_socket.getnameinfo, scope_in_the_host(address), flags)
        ours = outcome(socket.getnameinfo, address, flags)
        if ours == theirs:
            return
        assert ours == WRONG or ours[0] == "gaierror"
        if theirs[0] == "result":  # a number that does not fit, of which theirs takes a part
            assert ours == WRONG
            assert address[1] not in range(65536) or any(item >> 32 for item in address[2:])

    check()


# --- messages ---------------------------------------------------------------------------------

FILES = 3
RIGHTS = (socket.SOL_SOCKET, socket.SCM_RIGHTS)
CREDENTIALS = struct.pack("iII", os.getpid(), os.getuid(), os.getgid())
PACKET_INFO = struct.pack("I4s4s", 0, bytes(4), bytes([127, 0, 0, 1]))

FILE = st.integers(0, FILES - 1)
CONTROL = st.one_of(
    st.lists(FILE, max_size=4).map(lambda which: (*RIGHTS, which)),
    st.lists(FILE, min_size=1, max_size=9).map(lambda which: (*RIGHTS, which)),
    st.binary(max_size=20).map(lambda data: (*RIGHTS, data)),
    st.just((socket.SOL_SOCKET, socket.SCM_CREDENTIALS, CREDENTIALS)),
    st.tuples(st.just(socket.SOL_SOCKET), st.just(socket.SCM_CREDENTIALS), st.binary(max_size=20)),
    st.tuples(st.just(socket.IPPROTO_IP), st.just(socket.IP_TTL), st.integers(-1, 256)).map(
        lambda item: (*item[:2], struct.pack("i", item[2]))
    ),
    st.tuples(st.just(socket.IPPROTO_IP), st.just(socket.IP_TOS), st.binary(max_size=5)),
    st.just((socket.IPPROTO_IP, socket.IP_PKTINFO, PACKET_INFO)),
    st.tuples(
        st.sampled_from([socket.SOL_SOCKET, socket.IPPROTO_IP, socket.IPPROTO_UDP, -1, 1 << 40]),
        st.integers(-2, 40),
        st.binary(max_size=40),
    ),
    st.tuples(st.integers(0, 40), st.integers(0, 40), one(JUNK)),
    st.tuples(st.integers(0, 40), st.integers(0, 40)),
    one(
        JUNK.filter(lambda junk: not isinstance(junk, bytes))
    ),  # of which three are (int, int, int)
)

BUFFER = st.one_of(
    st.binary(max_size=50),
    st.binary(max_size=50).map(bytearray),
    st.binary(max_size=50).map(memoryview),
    st.lists(st.integers(0, 9), max_size=20).map(lambda items: array.array("i", items)),
    st.integers(0, 70_000).map(bytes),
)
BUFFERS = mostly(
    st.lists(one(BUFFER), max_size=5),
    st.lists(one(BUFFER), max_size=5).map(tuple),
    st.lists(st.one_of(one(BUFFER), one(JUNK)), max_size=4),
    st.integers(1000, 1100).map(lambda count: [b"x"] * count),  # 1024 is the most
    one(JUNK),
)
SEND_FLAGS = mostly(
    st.just(0),
    st.sampled_from([socket.MSG_MORE, socket.MSG_OOB, socket.MSG_EOR, socket.MSG_DONTROUTE]),
    st.sampled_from([-1, 1 << 40]),
)
RECEIVE_FLAGS = mostly(
    st.sampled_from([0, 0, socket.MSG_PEEK, socket.MSG_CMSG_CLOEXEC, socket.MSG_TRUNC]),
    st.sampled_from([socket.MSG_PEEK | socket.MSG_TRUNC, socket.MSG_ERRQUEUE, socket.MSG_OOB]),
)
SIZE = mostly(st.one_of(st.integers(0, 100), st.integers(0, 100_000)), st.just(-1))
ROOM = mostly(
    st.one_of(st.integers(0, 200), st.integers(16, 64), st.just(1000)), st.integers(-1, 24)
)

STEP = st.one_of(
    *[
        st.tuples(
            st.just("sendmsg"),
            BUFFERS,
            mostly(st.lists(one(CONTROL), max_size=2), st.just(()), JUNK),
            SEND_FLAGS,
            mostly(st.just("nobody"), st.just("other"), st.just("junk")),
        )
        for _ in range(4)  # as often as those that receive
    ],
    *[st.tuples(st.just("recvmsg"), SIZE, ROOM, RECEIVE_FLAGS) for _ in range(2)],
    *[
        st.tuples(
            st.just("recvmsg_into"), st.lists(st.integers(0, 60), max_size=5), ROOM, RECEIVE_FLAGS
        )
        for _ in range(2)
    ],
    st.tuples(st.just("shutdown"), st.integers(-1, 3)),
)
KINDS = st.sampled_from(
    [
        (socket.AF_UNIX, socket.SOCK_STREAM),
        (socket.AF_UNIX, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET),
        (socket.AF_INET, socket.SOCK_DGRAM),
    ]
)
MORE_TO_TELL = {
    socket.AF_UNIX: [(socket.SOL_SOCKET, socket.SO_PASSCRED)],
    socket.AF_INET: [
        (socket.IPPROTO_IP, socket.IP_PKTINFO),
        (socket.IPPROTO_IP, socket.IP_RECVTOS),
        (socket.IPPROTO_IP, 12),  # IP_RECVTTL
    ],
}


class Pair:
    """Two sockets of one module that are connected; the left one sends."""

    def __init__(self, module: Any, family: int, kind: int, files: list[int], tells: bool) -> None:
        self.files = files
        if family == socket.AF_UNIX:
            self.left, self.right = module.socketpair(family, kind)
        else:
            self.left, self.right = module.socket(family, kind), module.socket(family, kind)
            for sock in (self.left, self.right):
                found = outcome(sock.bind, ("127.0.0.1", 0))
                assert found == ("result", None)
            assert outcome(self.left.connect, self.right.getsockname()) == ("result", None)
        if tells:
            for option in MORE_TO_TELL[family]:
                self.right.setsockopt(*option, 1)

    def close(self) -> None:
        self.left.close()
        self.right.close()

    def step(self, name: str, *arguments: Any) -> Outcome:
        return getattr(self, name)(*arguments)

    def shutdown(self, how: int) -> Outcome:
        return outcome(self.left.shutdown, how)

    def sendmsg(self, buffers: Any, control: Any, flags: int, to: str) -> Outcome:
        if isinstance(control, list):
            control = [self.with_descriptors(item) for item in control]
        address = {"nobody": None, "other": self.right.getsockname(), "junk": 1.5}[to]
        return outcome(self.left.sendmsg, buffers, control, flags | socket.MSG_DONTWAIT, address)

    def with_descriptors(self, item: Any) -> Any:
        if isinstance(item, tuple) and item[:2] == RIGHTS and isinstance(item[2], list):
            return (*RIGHTS, array.array("i", [self.files[which] for which in item[2]]))
        return item

    def recvmsg(self, size: int, room: int, flags: int) -> Outcome:
        return self.received(outcome(self.right.recvmsg, size, room, flags | socket.MSG_DONTWAIT))

    def recvmsg_into(self, sizes: list[int], room: int, flags: int) -> Outcome:
        buffers = [bytearray(size + 2) for size in sizes]
        views = [memoryview(buffer)[1:-1] for buffer in buffers]
        found = outcome(self.right.recvmsg_into, views, room, flags | socket.MSG_DONTWAIT)
        for view in views:
            view.release()
        kind, result = self.received(found)
        return kind, (result, buffers)

    def received(self, found: Outcome) -> Outcome:
        kind, result = found
        if kind != "result":
            return found
        data, ancillary, flags, address = result
        told = [(level, what, self.content(level, what, held)) for level, what, held in ancillary]
        if address is not None and address == self.left.getsockname():
            address = "left"
        return kind, (data, told, flags, address)

    def content(self, level: int, kind: int, data: bytes) -> Any:
        """Of descriptors only what is behind them; they are closed."""
        if (level, kind) != RIGHTS:
            return data
        count = len(data) // 4
        seen: list[Any] = [len(data)]
        for fd in struct.unpack(f"{count}i", data[: count * 4]):
            seen.append(os.fstat(fd).st_ino)
            os.close(fd)
        return seen


@contextmanager
def several_files() -> Iterator[list[int]]:
    files = [os.memfd_create("tonio") for _ in range(FILES)]
    try:
        yield files
    finally:
        for fd in files:
            os.close(fd)


def test_messages() -> None:
    with several_files() as files:

        @generated
        @given(KINDS, st.booleans(), st.lists(STEP, max_size=8))
        def check(kind: tuple[int, int], tells: bool, steps: list[Any]) -> None:
            theirs = Pair(stdlib_socket, *kind, files, tells)
            ours = Pair(socket, *kind, files, tells)
            with closing(theirs), closing(ours), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # "truncated", of theirs
                for step in steps:
                    assert ours.step(*step) == theirs.step(*step)

        check()


# --- options ----------------------------------------------------------------------------------

# What changes by itself or differs between two sockets, and what acts on more than the socket.
SPARED = {
    (socket.SOL_SOCKET, 49),  # SO_INCOMING_CPU
    (socket.SOL_SOCKET, 56),  # SO_INCOMING_NAPI_ID
    (socket.SOL_SOCKET, 57),  # SO_COOKIE
    (socket.IPPROTO_TCP, socket.TCP_INFO),
    (socket.IPPROTO_TCP, 24),  # TCP_TIMESTAMP
    (socket.IPPROTO_TCP, 31),  # TCP_ULP loads modules
    # They read from the buffer, which is all zero with ours and anything with theirs.
    (socket.IPPROTO_TCP, 35),  # TCP_ZEROCOPY_RECEIVE
    (socket.IPPROTO_TCP, 40),  # TCP_AO_INFO
    (socket.IPPROTO_TCP, 41),  # TCP_AO_GET_KEYS
    (socket.IPPROTO_IP, 41),  # IP_MSFILTER
    (socket.IPPROTO_IP, 48),  # MCAST_MSFILTER
    (socket.IPPROTO_IPV6, 32),  # IPV6_FLOWLABEL_MGR
    (socket.IPPROTO_IPV6, 48),
}
OPTION = mostly(
    st.one_of(
        st.tuples(st.just(socket.SOL_SOCKET), st.integers(1, 80)),
        st.tuples(st.just(socket.IPPROTO_TCP), st.integers(1, 45)),
        st.tuples(st.just(socket.IPPROTO_IP), st.integers(1, 63)),
        st.tuples(st.just(socket.IPPROTO_IPV6), st.integers(1, 63)),
    ),
    st.tuples(st.integers(-1, 300), st.integers(-1, 0)),
    st.tuples(st.integers(300, 70000), st.integers(0, 63)),
    st.tuples(st.sampled_from([1 << 40, -(1 << 40), None, "1", 1.5]), st.integers(0, 9)),
).filter(lambda option: option not in SPARED)


class Number:
    """What is no int, but as good as one."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


VALUE = mostly(
    st.one_of(
        *[st.integers(*bounds).map(lambda value: (value,)) for bounds in ((0, 1), (-2, 100))],
        st.integers(-(1 << 31), (1 << 31) - 1).map(lambda value: (value,)),
        st.integers(-2, 100).map(lambda value: (Number(value),)),
        st.booleans().map(lambda value: (value,)),
        st.binary(max_size=40).map(lambda value: (value,)),
        st.lists(st.integers(0, 9), max_size=4).map(lambda value: (array.array("i", value),)),
        st.integers(0, 40).map(lambda size: (None, size)),
    ),
    st.binary(max_size=40).map(lambda value: (bytearray(value),)),
    st.integers(0, 40).map(lambda size: (5, size)),
    st.just(()),
    JUNK.map(lambda junk: (junk,)),
)
OPTION_STEP = st.one_of(
    st.tuples(st.just("setsockopt"), OPTION, VALUE),
    st.tuples(st.just("getsockopt"), OPTION, st.just(())),
    st.tuples(
        st.just("getsockopt"),
        OPTION,
        mostly(st.integers(0, 1024), JUNK).map(lambda size: (size,)),
    ),
)


def test_options() -> None:
    kinds = [
        (socket.AF_INET, socket.SOCK_STREAM),
        (socket.AF_INET, socket.SOCK_DGRAM),
        (socket.AF_INET6, socket.SOCK_STREAM),
        (socket.AF_UNIX, socket.SOCK_STREAM),
    ]

    @generated
    @given(st.sampled_from(kinds), st.lists(OPTION_STEP, max_size=8))
    def check(kind: tuple[int, int], steps: list[Any]) -> None:
        with closing(stdlib_socket.socket(*kind)) as theirs, closing(socket.socket(*kind)) as ours:
            for method, option, arguments in steps:
                found = outcome(getattr(ours, method), *option, *arguments)
                expected = outcome(getattr(theirs, method), *option, *arguments)
                assert found == expected

    check()
