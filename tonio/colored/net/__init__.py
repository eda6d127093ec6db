"""The same as `tonio.net`."""

from tonio.colored.net import socket
from tonio.net import (
    SocketListener,
    SocketStream,
    inherited_listeners,
    open_tcp_listeners,
    open_tcp_stream,
    open_unix_listener,
    open_unix_socket,
    serve_listeners,
    serve_tcp,
    serve_unix,
)

__all__ = [
    "SocketListener",
    "SocketStream",
    "inherited_listeners",
    "open_tcp_listeners",
    "open_tcp_stream",
    "open_unix_listener",
    "open_unix_socket",
    "serve_listeners",
    "serve_tcp",
    "serve_unix",
    "socket",
]
