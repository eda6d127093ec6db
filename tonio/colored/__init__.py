"""The same as `tonio` for `async def` coroutines: `await tonio.sleep(1)`.

The objects are those of `tonio`; `yield_now()` is here because a coroutine cannot just `yield`.
"""

from tonio import (
    Event,
    Join,
    Runtime,
    Task,
    current_task,
    exceptions,
    main,
    map,
    map_blocking,
    run,
    runtime,
    runtime_stats,
    sleep,
    spawn,
    spawn_blocking,
)
from tonio._core import yield_now
from tonio.colored import net, sync, time

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
    "yield_now",
]
