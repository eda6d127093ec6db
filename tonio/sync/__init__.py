"""Synchronisation between tasks. All of it is fair, and may be shared by tasks on all threads."""

from tonio._core import Barrier, Condition, Lock, Once, RwLock, Semaphore
from tonio.sync import channel

__all__ = [
    "Barrier",
    "Condition",
    "Lock",
    "Once",
    "RwLock",
    "Semaphore",
    "channel",
]
