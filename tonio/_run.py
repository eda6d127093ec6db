"""Ways to start a runtime: `run`, `main`, `runtime`."""

from __future__ import annotations

import functools
import math
import os
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tonio._core import Runtime

__all__ = ["main", "run", "runtime"]


def _cgroup_cpus() -> float:
    """The CPU quota of the control group, in CPUs; infinite if there is none."""
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return math.inf
    best = math.inf
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers:
            continue
        folder = Path("/sys/fs/cgroup") / path.lstrip("/")
        for level in (folder, *folder.parents):
            try:
                quota, period = (level / "cpu.max").read_text().split()
            except (OSError, ValueError):
                continue
            if quota != "max":
                best = min(best, int(quota) / int(period))
    return best


def default_threads() -> int:
    """As many threads as this process may use CPUs; one on an interpreter with the global lock."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED") or sys._is_gil_enabled():
        return 1
    cpus = os.process_cpu_count() or 1
    return max(1, min(cpus, math.ceil(min(_cgroup_cpus(), cpus))))


def runtime(
    *,
    context: bool = False,
    threads: int | None = None,
    blocking_threadpool_size: int = 128,
    blocking_threadpool_idle_ttl: float = 30,
    shutdown_warning: float = 10,
) -> Runtime:
    """Makes a runtime that can run one main coroutine after another.

    `threads` workers run tasks, the calling thread among them; the default is what the process may
    use (CPU affinity and control group). Up to `blocking_threadpool_size` further threads run
    blocking functions and leave after `blocking_threadpool_idle_ttl` idle seconds. With `context`
    each task runs in a copy of its spawner's `contextvars` context. Tasks that have not ended
    `shutdown_warning` seconds after the main coroutine are named in a `RuntimeWarning` (infinity:
    never).

    Raises `TypeError` or `ValueError` for bad options.

        with tonio.runtime(threads=2) as runtime:
            runtime.run_until_complete(first())
            runtime.run_until_complete(second())
    """
    return Runtime(
        context=context,
        threads=default_threads() if threads is None else threads,
        blocking_threadpool_size=blocking_threadpool_size,
        blocking_threadpool_idle_ttl=blocking_threadpool_idle_ttl,
        shutdown_warning=shutdown_warning,
    )


def run(coro: Any, /, **options: Any) -> Any:
    """Runs a coroutine, generator or operation to its end; returns its value or raises its error.

    The options are those of `runtime`. Whatever it spawned and left behind is cancelled and has
    ended when this returns. May be called any number of times, from any thread.

    Raises `RuntimeAlreadyInitializedError` inside a running runtime, `TypeError` for what cannot
    run, `KeyboardInterrupt` after Ctrl-C.

        print(tonio.run(fetch("example"), threads=4))
    """
    return runtime(**options).run_until_complete(coro)


def main(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Decorator: calling the function runs the coroutine that it makes.

    The options are those of `runtime`; arguments of the call are passed to the function.

        @tonio.main(threads=2)
        def program(name):
            yield tonio.sleep(1)
            print("hello", name)

        program("world")
    """
    if function is None:
        return functools.partial(main, **options)
    if not callable(function):
        raise TypeError(f"main() decorates a function, not {type(function).__name__}")
    runtime(**options)  # bad options are reported here, not at the first call

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return run(function(*args, **kwargs), **options)

    return wrapper
