"""Our socket and functions, and the names of the standard module.

The standard functions that block or return blocking sockets do not exist here, although a checker
lets them pass.
"""

# ruff: noqa: F403, I001 - first ours: of two imports of one name the earlier one has the say

from tonio._core import getaddrinfo as getaddrinfo, getnameinfo as getnameinfo, socket as socket
from tonio.net._functions import (
    from_stdlib_socket as from_stdlib_socket,
    fromfd as fromfd,
    recv_fds as recv_fds,
    send_fds as send_fds,
    socketpair as socketpair,
)
from socket import *  # type: ignore[assignment]
