"""The same as `tonio.net.socket`."""

from tonio.net.socket import *  # noqa: F403
