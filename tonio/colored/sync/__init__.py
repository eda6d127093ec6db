"""The same as `tonio.sync`."""

from tonio.colored.sync import channel
from tonio.sync import Barrier, Lock, Semaphore

__all__ = ["Barrier", "Lock", "Semaphore", "channel"]
