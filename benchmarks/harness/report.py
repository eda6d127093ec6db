"""Text for people: progress while it runs, tables and goals at the end."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from collections.abc import Sequence

from harness.results import Goal, Results, Spread

MISSING = "-"
CPU_METRICS = {"total_seconds": "cpu_seconds", "seconds_per_op": "cpu_per_op"}
"""For a metric of wall-clock time the one of CPU time."""


class Progress:
    """What is running now; a terminal shows it in one line, a log gets a line per case."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._begin = time.monotonic()
        self._terminal = sys.stdout.isatty()
        self._shown = ""

    def _head(self) -> str:
        elapsed = int(time.monotonic() - self._begin)
        return f"[{self._done:3d}/{self._total}, {elapsed // 60}:{elapsed % 60:02d}]"

    def step(self, where: str, contender: str) -> None:
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{self._head()} {where}: {contender}"[: width + 4], end="", flush=True)
        elif where != self._shown:
            print(f"{self._head()} {where}", flush=True)
        self._shown = where
        self._done += 1

    def say(self, text: str) -> None:
        print(f"\r\033[K{text}" if self._terminal else text, flush=True)

    def end(self) -> None:
        self.say(f"{self._head()} done")


@dataclasses.dataclass
class Table:
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        rule = ["-" * width for width in widths]

        def text(line: Sequence[str]) -> str:
            cells = [
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            return "  ".join(cells).rstrip()

        return "\n".join([self.title, "", *map(text, [self.header, rule, *self.rows])])


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:,.0f}"
    if magnitude >= 10:
        return f"{value:.1f}"
    if magnitude >= 1 or magnitude == 0:
        return f"{value:.2f}"
    return f"{value:.3f}"


def plain(spread: Spread | None, scale: float = 1) -> str:
    return MISSING if spread is None else number(spread.median * scale)


def with_range(spread: Spread | None, unit: str = "") -> str:
    if spread is None:
        return MISSING
    low, high = number(spread.low), number(spread.high)
    middle = f"{number(spread.median)}{unit}"
    return middle if low == high else f"{middle} ({low}-{high})"


def rate(seconds_each: Spread | None) -> str:
    """Operations per second."""
    if seconds_each is None or seconds_each.median <= 0:
        return MISSING
    value = 1 / seconds_each.median
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.3g} k"


def goals_table(goals: list[tuple[Goal, Results]]) -> Table:
    """Each goal with the results that it is about.

    Goals about times are judged by the clock on the wall. Beside it stands the same comparison of
    CPU times, which other processes on the machine disturb less.
    """
    rows = []
    for goal, results in goals:
        measured = goal.measured(results)
        if measured is None:
            verdict = "not measured"
        else:
            verdict = "reached" if goal.reached(measured) else "MISSED"
        unit = "x" if goal.against else ""
        by_cpu = MISSING
        if metric := CPU_METRICS.get(goal.metric):
            by_cpu = with_range(dataclasses.replace(goal, metric=metric).measured(results), unit)
        rows.append((goal.text, goal.bound(), with_range(measured, unit), by_cpu, verdict))
    return Table("Goals", ("", "target", "measured (least-most)", "by CPU time", ""), rows)
