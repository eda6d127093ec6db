"""Generated options: sockets take and give what those of the standard module do."""

import array
import socket as stdlib_socket
from contextlib import closing
from typing import Any

from generated import JUNK, generated, mostly, outcome
from hypothesis import given
from hypothesis import strategies as st

from tonio.net import socket

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
