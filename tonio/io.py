"""Readiness of any descriptor: what drivers are put on that read and write by themselves."""

from tonio._core import Descriptor, register

__all__ = ["Descriptor", "register"]
