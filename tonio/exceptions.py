"""Exceptions of TonIO. `TimeoutError` is the built-in one."""

from __future__ import annotations

__all__ = [
    "CancelledError",
    "DeadlockError",
    "DelimiterNotFound",
    "EndOfChannel",
    "IncompleteRead",
    "Lagged",
    "ResourceBroken",
    "ResourceBusy",
    "ResourceClosed",
    "RuntimeAlreadyInitializedError",
    "RuntimeNotInitializedError",
    "TaskCancelled",
    "WouldBlock",
]


class CancelledError(BaseException):
    """Raised where a cancelled task waits, and at every further wait: clean up and let it pass."""


class TaskCancelled(Exception):
    """Raised by awaiting the join of a task that was cancelled."""


class WouldBlock(Exception):
    """An operation that must not wait would have to."""


class DeadlockError(RuntimeError):
    """Nothing can ever wake what waits."""


class RuntimeNotInitializedError(RuntimeError):
    """Something that needs a running runtime was used without one."""


class RuntimeAlreadyInitializedError(RuntimeError):
    """A runtime was started where one is running already."""


class ResourceBroken(Exception):
    """The other side is gone."""


class EndOfChannel(ResourceBroken):
    """No message is left and none will come."""


class IncompleteRead(EOFError):
    """A stream has ended before all that was asked for had come; the rest can still be received."""


class DelimiterNotFound(ValueError):
    """More bytes than allowed have come without the delimiter; they can still be received."""


class Lagged(Exception):
    """A receiver of a broadcast was too slow: `missed` messages were overwritten before it came."""

    def __init__(self, missed: int) -> None:
        super().__init__(f"{missed} messages were missed")
        self.missed = missed


class ResourceClosed(Exception):
    """It was closed on this side."""


class ResourceBusy(Exception):
    """Another task is using it in a way that does not allow for two."""
