"""TonIO: a multi-threaded async runtime for free-threaded Python.

Coroutines are written as generators here (`yield tonio.sleep(1)`); `tonio.colored` has the same for
`async def` (`await tonio.sleep(1)`).
"""

from tonio import exceptions, net, sync, time
from tonio._core import (
    Event,
    Join,
    Runtime,
    Task,
    current_task,
    map,
    map_blocking,
    runtime_stats,
    sleep,
    spawn,
    spawn_blocking,
)
from tonio._run import main, run, runtime

__all__ = [
    "Event",
    "Join",
    "Runtime",
    "Task",
    "current_task",
    "exceptions",
    "main",
    "map",
    "map_blocking",
    "net",
    "run",
    "runtime",
    "runtime_stats",
    "sleep",
    "spawn",
    "spawn_blocking",
    "sync",
    "time",
]
