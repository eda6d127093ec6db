"""The same as `tonio.time`."""

from tonio.time import interval, sleep, time, timeout

__all__ = ["interval", "sleep", "time", "timeout"]
