"""Generated messages with ancillary data: sockets do what those of the standard module do."""

import array
import os
import socket as stdlib_socket
import struct
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from generated import JUNK, Outcome, generated, mostly, one, outcome
from hypothesis import given
from hypothesis import strategies as st

from tonio.net import socket

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
        match item:
            case (level, kind, list(chosen)) if (level, kind) == RIGHTS:
                return (*RIGHTS, array.array("i", [self.files[which] for which in chosen]))
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
