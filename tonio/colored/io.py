"""The same as `tonio.io`."""

from tonio.io import Descriptor, register

__all__ = ["Descriptor", "register"]
