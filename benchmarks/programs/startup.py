"""How long it takes to import a library, start its runtime, run nothing, and stop it.

    python startup.py LIBRARY [--threads N] [--runs N] [--waiting N]

The first run of the process is told apart from the later ones. A library whose runtime can be used
only once per process has no later ones. With `--waiting` so many tasks still wait for an event when
the main task ends, and the runtime has to dispose of them.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

from measure import Stopwatch, report


def main() -> None:
    parser = argparse.ArgumentParser(description="the time to start and stop a runtime")
    parser.add_argument("library", choices=["tonio", "asyncio", "trio"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--waiting", type=int, default=0, help="tasks at the end")
    options = parser.parse_args()

    watch = Stopwatch()
    module = {"tonio": "tonio.colored"}.get(options.library, options.library)
    __import__(module)
    result: dict[str, Any] = {"import_ms": watch.wall() * 1e3}

    from libraries import LIBRARIES

    library = LIBRARIES[options.library]()
    moments: list[float] = []

    async def program() -> None:
        moments.append(time.perf_counter())
        if options.waiting:
            event = library.event()

            async def wait() -> None:
                await event.wait()

            for _ in range(options.waiting):
                library.detach(wait)
            for _ in range(3):
                await library.checkpoint()
        moments.append(time.perf_counter())

    def timed() -> tuple[float, float]:
        moments.clear()
        begin = time.perf_counter()
        library.run(program, options.threads)
        end = time.perf_counter()
        return (moments[0] - begin) * 1e3, (end - moments[1]) * 1e3

    start, stop = timed()
    result |= {"first_start_ms": start, "first_stop_ms": stop, "first_ms": start + stop}
    try:
        later = [timed() for _ in range(options.runs)]
    except RuntimeError as error:
        result["note"] = repr(error)
    else:
        if later:
            result["later_ms"] = median(start + stop for start, stop in later)
    report(result)


if __name__ == "__main__":
    main()
