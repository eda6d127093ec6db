"""The same as `tonio.time`."""

from tonio.time import (
    fail_after,
    interval,
    sleep,
    sleep_forever,
    sleep_until,
    time,
    timeout,
)

__all__ = [
    "fail_after",
    "interval",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "time",
    "timeout",
]
