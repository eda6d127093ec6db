"""Our socket, and the names of the standard module.

The standard functions that block or return blocking sockets do not exist here, although a checker
lets them pass.
"""

# ruff: noqa: F403, I001 - first ours: of two imports of one name the earlier one has the say

from tonio._core import socket as socket
from socket import *  # type: ignore[assignment]
