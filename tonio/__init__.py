"""TonIO: a multi-threaded async runtime for free-threaded Python.

Coroutines are written as generators here (`yield tonio.sleep(1)`); `tonio.colored` has the same for
`async def` (`await tonio.sleep(1)`).
"""

from tonio import exceptions, io, net, sync, time
from tonio._core import (
    Event,
    Join,
    Runtime,
    Scope,
    Task,
    as_completed,
    block_on,
    current_task,
    map,
    map_blocking,
    pinned,
    runtime_stats,
    scope,
    select,
    sleep,
    spawn,
    spawn_blocking,
)
from tonio._run import main, run, runtime

__all__ = [
    "Event",
    "Join",
    "Runtime",
    "Scope",
    "Task",
    "as_completed",
    "block_on",
    "current_task",
    "exceptions",
    "io",
    "main",
    "map",
    "map_blocking",
    "net",
    "pinned",
    "run",
    "runtime",
    "runtime_stats",
    "scope",
    "select",
    "sleep",
    "spawn",
    "spawn_blocking",
    "sync",
    "time",
]
