"""Sockets as in the standard library, whose waiting methods are yielded or awaited."""

import socket as _socket
from socket import *  # noqa: F403
from typing import Any

from tonio._core import getaddrinfo, getnameinfo, socket
from tonio.net._functions import (
    from_stdlib_socket,
    fromfd,
    recv_fds,
    send_fds,
    socketpair,
)

# The constants and exceptions of the standard module have the same names here. Its functions block,
# or return blocking sockets, so they are left out, but for pure conversions.
_FUNCTIONS = {
    "CMSG_LEN",
    "CMSG_SPACE",
    "close",
    "dup",
    "gethostname",
    "has_dualstack_ipv6",
    "htonl",
    "htons",
    "if_indextoname",
    "if_nameindex",
    "if_nametoindex",
    "inet_aton",
    "inet_ntoa",
    "inet_ntop",
    "inet_pton",
    "ntohl",
    "ntohs",
}

_OURS: dict[str, Any] = {
    "from_stdlib_socket": from_stdlib_socket,
    "fromfd": fromfd,
    "getaddrinfo": getaddrinfo,
    "getnameinfo": getnameinfo,
    "recv_fds": recv_fds,
    "send_fds": send_fds,
    "socket": socket,
    "socketpair": socketpair,
}

__all__ = list(_OURS)
for _name in _socket.__all__:
    _value: Any = getattr(_socket, _name)
    if _name in _OURS:
        continue
    if _name == "SocketType" or not (
        _name in _FUNCTIONS or not callable(_value) or isinstance(_value, type)
    ):
        globals().pop(_name, None)
    else:
        __all__.append(_name)
globals().update(_OURS)
del _name, _value
