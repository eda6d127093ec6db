"""Networking: sockets, streams, servers; TLS is in `tonio.net.tls`."""

from tonio.net import socket
from tonio.net._listeners import (
    SocketListener,
    inherited_listeners,
    open_tcp_listeners,
    open_unix_listener,
)
from tonio.net._servers import serve_listeners, serve_tcp, serve_unix
from tonio.net._streams import SocketStream, open_tcp_stream, open_unix_socket

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
