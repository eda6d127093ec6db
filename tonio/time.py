"""Time: the runtime's clock, sleeping, time limits, intervals."""

from tonio._core import interval, sleep, time, timeout

__all__ = ["interval", "sleep", "time", "timeout"]
