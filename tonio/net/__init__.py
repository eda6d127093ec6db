"""Networking."""

from tonio.net import socket

__all__ = ["socket"]
