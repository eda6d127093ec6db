"""Sockets as in the standard library, whose waiting methods are yielded or awaited."""

import socket as _socket
from socket import *  # noqa: F403
from typing import Any

from tonio._core import socket

# The constants and exceptions of the standard module have the same names here. Its functions block,
# or return blocking sockets, so they are left out, but for pure conversions.
_FUNCTIONS = {
    "CMSG_LEN",
    "CMSG_SPACE",
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

__all__ = ["socket"]
for _name in _socket.__all__:
    _value: Any = getattr(_socket, _name)
    _harmless = _name in _FUNCTIONS or not callable(_value) or isinstance(_value, type)
    if _harmless and _name not in {"socket", "SocketType"}:
        __all__.append(_name)
    elif _name != "socket":
        globals().pop(_name, None)
del _harmless, _name, _value
