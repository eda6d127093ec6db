"""The same as `tonio` for `async def` coroutines: `await tonio.sleep(1)`.

The objects are those of `tonio`; `yield_now()` is here because a coroutine cannot just `yield`.
"""

from tonio import (
    Event,
    Join,
    Runtime,
    Scope,
    Task,
    as_completed,
    block_on,
    current_task,
    exceptions,
    main,
    map,
    map_blocking,
    pinned,
    run,
    runtime,
    runtime_stats,
    scope,
    select,
    sleep,
    spawn,
    spawn_blocking,
)
from tonio._core import yield_now
from tonio.colored import io, net, sync, time

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
    "yield_now",
]
