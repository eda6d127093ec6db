"""The memory of a task that is ready, waits for an event, or sleeps.

    python memory.py LIBRARY ready|waiting|sleeping [--threads N] [--count N]

Resident memory is read before the first coroutine is made and when all tasks are in the wanted
state. It includes the coroutine, which costs the same in every library.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Awaitable, Callable

import libraries
import libraries_yield
from measure import report, resident_bytes

ROUNDS = 3
"""How often the tasks have been resumed when memory is read: they have surely begun."""

type Tell = Callable[[], None]


def by_await(library: libraries.Library, state: str, count: int, tell: Tell) -> libraries.Function:
    async def main() -> None:
        event = library.event()

        async def ready() -> None:
            for _ in range(2 * ROUNDS):
                await library.checkpoint()

        async def waiting() -> None:
            await event.wait()

        async def sleeping() -> None:
            await library.sleep(libraries.LONG)

        task: dict[str, Callable[[], Awaitable[None]]] = {
            "ready": ready,
            "waiting": waiting,
            "sleeping": sleeping,
        }
        tell()
        for _ in range(count):
            library.detach(task[state])  # type: ignore[arg-type]
        for _ in range(ROUNDS):
            await library.checkpoint()
        tell()

    return main


def by_yield(
    library: libraries_yield.Library, state: str, count: int, tell: Tell
) -> libraries_yield.Function:
    def main() -> libraries_yield.Steps:
        event = library.event()

        def ready() -> libraries_yield.Steps:
            for _ in range(2 * ROUNDS):
                yield

        def waiting() -> libraries_yield.Steps:
            yield event.wait()

        def sleeping() -> libraries_yield.Steps:
            yield library.sleep(libraries.LONG)

        task = {"ready": ready, "waiting": waiting, "sleeping": sleeping}[state]
        tell()
        yield library.detached([task] * count)
        for _ in range(ROUNDS):
            yield
        tell()

    return main


def main() -> None:
    names = [*libraries.LIBRARIES, *libraries_yield.LIBRARIES]
    parser = argparse.ArgumentParser(description="the memory of tasks")
    parser.add_argument("library", choices=names)
    parser.add_argument("state", choices=["ready", "waiting", "sleeping"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--count", type=int, default=100_000)
    options = parser.parse_args()
    readings: list[int] = []

    def tell() -> None:
        readings.append(resident_bytes("VmRSS"))
        if len(readings) == 2:
            report({"task_bytes": (readings[1] - readings[0]) / options.count})
            os._exit(0)  # an hour of sleep is not waited for

    if options.library in libraries.LIBRARIES:
        library = libraries.LIBRARIES[options.library]()
        library.run(by_await(library, options.state, options.count, tell), options.threads)
    else:
        other = libraries_yield.LIBRARIES[options.library]()
        other.run(by_yield(other, options.state, options.count, tell), options.threads)


if __name__ == "__main__":
    main()
