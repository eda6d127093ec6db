"""The socket of ours, and the names of the standard module.

The standard functions that block or return blocking sockets do not exist here, although a checker lets them pass.
"""

# First: of two imports of one name the earlier one has the say.
from tonio._core import socket as socket
from socket import *  # type: ignore[assignment]  # isort: skip
