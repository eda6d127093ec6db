"""The same as `tonio.sync`."""

from tonio.colored.sync import channel
from tonio.sync import Barrier, Condition, Lock, Once, RwLock, Semaphore

__all__ = [
    "Barrier",
    "Condition",
    "Lock",
    "Once",
    "RwLock",
    "Semaphore",
    "channel",
]
