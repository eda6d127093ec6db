"""The same as `tonio.net`."""

from tonio.colored.net import socket

__all__ = ["socket"]
