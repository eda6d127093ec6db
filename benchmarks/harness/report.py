"""Text for people: progress while it runs, tables at the end."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from collections.abc import Sequence

from harness.model import Column, Suite
from harness.results import Results, Spread

MISSING = "-"


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

    def markdown(self) -> str:
        """Without the title, which the document has elsewhere."""
        rule = [":--", *["--:"] * (len(self.header) - 1)]
        lines = [self.header, rule, *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three significant digits, without an exponent; if very small, with a prefix of the unit."""
    magnitude = abs(value)
    if 0 < magnitude < 0.001:
        for factor, prefix in ((1e6, "u"), (1e9, "n")):
            if magnitude * factor >= 1:
                return f"{value * factor:.3g} {prefix}"
    if magnitude >= 100:
        return f"{value:,.0f}"
    if magnitude >= 10:
        return f"{value:.1f}"
    if magnitude >= 1 or magnitude == 0:
        return f"{value:.2f}"
    return f"{value:.3f}"


def plain(spread: Spread | None) -> str:
    return MISSING if spread is None else number(spread.median)


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


def cell(column: Column, results: Results, case: str, label: str) -> str:
    if column.against:
        return with_range(results.ratio(case, column.metric, label, column.against), "x")
    spread = results.spread(case, label, column.metric)
    match column.style:
        case "rate":
            return rate(spread)
        case "range":
            return with_range(spread and spread.times(column.scale))
        case "plain":
            return plain(spread and spread.times(column.scale))


def tables(suite: Suite, results: Results) -> list[Table]:
    """The suite's results, with those columns for which there are any."""
    if suite.one_table:
        labels = list(dict.fromkeys(label for found in results.samples.values() for label in found))
        column = suite.columns[0]
        rows = [
            (suite.case_title(case), *(cell(column, results, case, label) for label in labels))
            for case in results.samples
        ]
        return [Table(f"{suite.title}: {column.title}", ("", *labels), rows)]
    found = []
    for case, contenders in results.samples.items():
        columns = [
            column
            for column in suite.columns
            if any(results.spread(case, label, column.metric) for label in contenders)
        ]
        rows = [
            (label, *(cell(column, results, case, label) for column in columns))
            for label in contenders
        ]
        title = f"{suite.title}: {suite.case_title(case)}"
        found.append(Table(title, ("", *(column.title for column in columns)), rows))
    return found
