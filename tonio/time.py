"""Time: the runtime's clock, sleeping, time limits, intervals."""

from tonio._core import (
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
