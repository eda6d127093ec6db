"""How long it takes to start a runtime, run a coroutine that does nothing, and stop it.

    python startup.py LIBRARY [--threads N] [--runs N]

The first run of the process is told apart from the later ones. A library whose runtime can be used
only once per process has no later ones.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from statistics import median
from typing import Any

from measure import Stopwatch, report


async def nothing() -> None:
    pass


def on_tonio(threads: int) -> Callable[[], None]:
    import tonio.colored as tonio

    return lambda: tonio.run(nothing(), threads=threads)


def on_asyncio(_threads: int) -> Callable[[], None]:
    return lambda: asyncio.run(nothing())


def on_trio(_threads: int) -> Callable[[], None]:
    import trio

    return lambda: trio.run(nothing)


LIBRARIES: dict[str, Callable[[int], Callable[[], None]]] = {
    "tonio": on_tonio,
    "asyncio": on_asyncio,
    "trio": on_trio,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="the time to start and stop a runtime")
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    run = LIBRARIES[options.library](options.threads)

    def timed() -> float:
        watch = Stopwatch()
        run()
        return watch.wall() * 1e3

    result: dict[str, Any] = {"first_ms": timed()}
    try:
        result["later_ms"] = median([timed() for _ in range(options.runs)])
    except RuntimeError as error:
        result["note"] = repr(error)
    report(result)


if __name__ == "__main__":
    main()
