"""Host names: they are looked up on the blocking pool, then the call is made with the result."""

from __future__ import annotations

import socket as _socket
from collections.abc import Generator
from typing import Any


def _call_by_name(sock: Any, method: str, address: tuple[Any, ...]) -> Generator[Any, Any, Any]:
    from tonio._core import spawn_blocking

    host, port, *rest = address
    found = yield spawn_blocking(
        _socket.getaddrinfo, host, port, sock.family, sock.type, sock.proto
    )
    numeric = found[0][4][:2] + tuple(rest) if rest else found[0][4]
    return (yield getattr(sock, method)(numeric))


def call_by_name(sock: Any, method: str, address: tuple[Any, ...]) -> Any:
    """The operation `sock.method(address)` for an address whose host is a name."""
    from tonio._core import delegate

    return delegate(_call_by_name(sock, method, address))
