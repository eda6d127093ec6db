"""What a runtime costs while its tasks sleep, and how late a sleep ends.

    python idle.py LIBRARY [--threads N] [--tasks N] [--seconds S]

First some thousand tasks sleep, none of them due: CPU time of the process in that window. Then,
while they still sleep, a thousand further tasks sleep for random times: how late they come back.
"""

from __future__ import annotations

import argparse
import random
import time
from functools import partial

from libraries import LIBRARIES, Library
from measure import Stopwatch, percentile, report

PROBES = 1000
SETTLE = 0.2

type Result = dict[str, float]


async def measure(library: Library, tasks: int, seconds: float) -> Result:
    sleep, together = library.sleep, library.together
    draw = random.Random(1).random
    begin = time.monotonic()
    # Sleeping starts late in a slow library; it ends by the clock, after both windows.
    end = begin + SETTLE + tasks * 50e-6 + 2 * seconds + 0.2
    lateness: list[float] = []
    cpu = 0.0

    async def sleeper() -> None:
        await sleep(end - time.monotonic())

    async def probe(delay: float) -> None:
        due = time.monotonic() + delay
        await sleep(delay)
        lateness.append((time.monotonic() - due) * 1e3)

    async def observe() -> None:
        nonlocal cpu
        await sleep(end - 2 * seconds - 0.2 - time.monotonic())
        watch = Stopwatch()
        await sleep(seconds)
        cpu = watch.cpu() / watch.wall()
        await together([partial(probe, draw() * seconds) for _ in range(PROBES)])

    await together([observe, *[sleeper] * tasks])
    return {
        "cpu_percent": cpu * 100,
        "late_p50_ms": percentile(lateness, 50),
        "late_p99_ms": percentile(lateness, 99),
        "late_max_ms": max(lateness),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description="the cost of sleeping tasks, and their punctuality"
    )
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each of the two windows")
    options = parser.parse_args()
    library = LIBRARIES[options.library]()
    report(library.run(partial(measure, library, options.tasks, options.seconds), options.threads))


if __name__ == "__main__":
    main()
