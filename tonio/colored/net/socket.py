"""The same as `tonio.net.socket`."""

from tonio.net.socket import *  # noqa: F403
from tonio.net.socket import __all__  # noqa: F401
