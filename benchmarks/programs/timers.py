"""Many pending time limits: what it costs to have them, and to cancel them in random order.

    python timers.py LIBRARY [--threads N] [--count N]

As many tasks as wanted wait for an event of their own, each for at most an hour. Once all wait, the
events are set in random order, so that each takes its timer away long before it is due.
"""

from __future__ import annotations

import argparse
import random
from typing import Any

import libraries
import libraries_yield
from measure import Stopwatch, report, resident_bytes

type Result = dict[str, float]


class Course:
    """The clocks and memory of one run, told at its three moments."""

    def __init__(self, events: list[Any]) -> None:
        self.count = len(events)
        self.before = resident_bytes("VmRSS")
        self.order = events.copy()
        random.Random(1).shuffle(self.order)
        self.result: Result = {}
        self.watch = Stopwatch()

    def pending(self) -> None:
        self.result["arm_us"] = self.watch.wall() / self.count * 1e6
        self.result["timer_bytes"] = (resident_bytes("VmRSS") - self.before) / self.count
        self.watch = Stopwatch()
        for event in self.order:
            event.set()

    def ended(self) -> None:
        self.result["cancel_us"] = self.watch.wall() / self.count * 1e6
        self.result["total_us"] = self.result["arm_us"] + self.result["cancel_us"]


def by_await(library: libraries.Library, count: int, threads: int) -> Result:
    async def main() -> Result:
        events = [library.event() for _ in range(count)]
        course = Course(events)

        async def waiter(event: Any) -> None:
            await library.wait_for(event)

        async def conduct() -> None:
            # Tasks run in the order of their start: when this one is resumed all others wait.
            for _ in range(3):
                await library.checkpoint()
            course.pending()

        def starter(event: Any) -> libraries.Function:
            return lambda: waiter(event)

        await library.together([*map(starter, events), conduct])
        course.ended()
        return course.result

    result: Result = library.run(main, threads)
    return result


def by_yield(library: libraries_yield.Library, count: int, threads: int) -> Result:
    def main() -> libraries_yield.Steps:
        events = [library.event() for _ in range(count)]
        course = Course(events)

        def waiter(event: Any) -> libraries_yield.Steps:
            yield library.wait_for(event)

        def conduct() -> libraries_yield.Steps:
            for _ in range(3):
                yield
            course.pending()

        def starter(event: Any) -> libraries_yield.Function:
            return lambda: waiter(event)

        yield library.together([*map(starter, events), conduct])
        course.ended()
        return course.result

    result: Result = library.run(main, threads)
    return result


def main() -> None:
    names = [*libraries.LIBRARIES, *libraries_yield.LIBRARIES]
    parser = argparse.ArgumentParser(description="what many pending time limits cost")
    parser.add_argument("library", choices=names)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--count", type=int, default=1_000_000)
    options = parser.parse_args()
    if options.library in libraries.LIBRARIES:
        library = libraries.LIBRARIES[options.library]()
        report(by_await(library, options.count, options.threads))
    else:
        other = libraries_yield.LIBRARIES[options.library]()
        report(by_yield(other, options.count, options.threads))


if __name__ == "__main__":
    main()
