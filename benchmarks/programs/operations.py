"""What single operations cost: runs one row of the table in one library.

    python operations.py LIBRARY ROW [--threads N] [--seconds S]

A row gets a number of operations and does exactly as many. How many fill the wanted time is found
by trying with more and more; the last trial is the measurement.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import libraries
import libraries_yield
import rows
import rows_yield
from measure import Stopwatch, report

FIXED = {"sleeps": 100_000}
"""Rows whose number of operations is part of their title."""
COUNT_STEP = 400
"""Every count is a multiple of the number of tasks among which any row divides it."""

type Result = dict[str, Any]


class Trials:
    """Counts of operations, one after the other, until one takes long enough; then the result."""

    def __init__(self, row: str, seconds: float) -> None:
        self.result: Result = {}
        self._fixed = FIXED.get(row) if seconds >= 0.1 else None
        self._seconds = seconds

    def __iter__(self) -> Iterator[int]:
        count = self._fixed or COUNT_STEP
        while True:
            watch = Stopwatch()
            yield count  # the caller does them now
            wall, cpu = watch.wall(), watch.cpu()
            if self._fixed or wall >= 0.7 * self._seconds:
                self.result = {
                    "count": count,
                    "seconds_per_op": wall / count,
                    "cpu_per_op": cpu / count,
                }
                return
            grown = int(count * min(10, self._seconds / wall)) // COUNT_STEP * COUNT_STEP
            count = max(grown, count + COUNT_STEP)


def by_await(library: libraries.Library, row: str, trials: Trials, threads: int) -> None:
    async def measure() -> None:
        for count in trials:
            await rows.ROWS[row](library, count)

    library.run(measure, threads)


def by_yield(library: libraries_yield.Library, row: str, trials: Trials, threads: int) -> None:
    def measure() -> libraries_yield.Steps:
        for count in trials:
            yield from rows_yield.ROWS[row](library, count)

    library.run(measure, threads)


def main() -> None:
    names = [*libraries.LIBRARIES, *libraries_yield.LIBRARIES]
    parser = argparse.ArgumentParser(description="what one kind of operation costs")
    parser.add_argument("library", choices=names)
    parser.add_argument("row", choices=rows.ROWS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.5, help="of measuring (default: 0.5)")
    options = parser.parse_args()
    trials = Trials(options.row, options.seconds)
    try:
        if options.library in libraries.LIBRARIES:
            library = libraries.LIBRARIES[options.library]()
            by_await(library, options.row, trials, options.threads)
        else:
            other = libraries_yield.LIBRARIES[options.library]()
            by_yield(other, options.row, trials, options.threads)
    except libraries.UnavailableError as error:
        trials.result = {"skipped": str(error)}
    report(trials.result)


if __name__ == "__main__":
    main()
