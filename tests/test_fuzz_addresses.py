"""Generated addresses and names: sockets do with them what those of the standard module do."""

import errno
import os
import socket as stdlib_socket
import tempfile
import warnings
from contextlib import chdir, closing, suppress
from typing import Any

from generated import JUNK, WRONG, Outcome, generated, mostly, one, outcome, texts
from hypothesis import example, given
from hypothesis import strategies as st

from tonio.net import socket

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
    @example(("AF_INET6", (b"0", -1)), "bind")  # two things are wrong with it
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
        elif theirs[0][0] == "gaierror" and ours == [WRONG]:  # so it is here
            right = {"AF_INET": "127.0.0.1", "AF_INET6": "::1"}[family], *address[1:]
            wrong = use_address(stdlib_socket, family, method, right) == [WRONG]
            assert wrong or is_too_strict_for_the_standard_module(family, address)
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
    @example(".", 0, (0, 0, 255), 0)  # two things are wrong with it
    def check(host: Any, port: Any, kind: tuple[int, int, int], flags: int) -> None:
        arguments = (host, port, *kind, flags | socket.AI_NUMERICHOST)
        theirs = outcome(stdlib_socket.getaddrinfo, *arguments)
        ours = outcome(socket.getaddrinfo, *arguments)
        if isinstance(host, bytearray):
            return  # theirs takes them in addresses only
        if ours == WRONG and has_null(host, port):
            return  # theirs leaves out what comes after it
        if theirs == WRONG and ours[0] == "gaierror":
            assert has_empty_label(host)  # with which more may be wrong
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
