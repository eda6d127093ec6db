"""What became slower or faster between two commits, beyond what the rounds differ by."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from harness.base import NAME
from harness.measuring import Contenders
from harness.model import Bench, Contender, Suite
from harness.report import Table, number, with_range
from harness.results import Results, Spread

PREFIX = "base: "
NOTICEABLE = 0.02
"""A smaller change is none, however small the spread."""
SLOWER, FASTER, SAME = "SLOWER", "faster", "same"


def pairs(bench: Bench) -> Contenders:
    """This project's contenders, each followed by the same one of the other commit."""

    def contenders(suite: Suite, case: str) -> list[Contender]:
        found = []
        for contender in suite.contenders(case):
            if contender.peer == "project" and bench.has(contender):
                label = PREFIX + contender.label
                found += [contender, dataclasses.replace(contender, label=label, peer=NAME)]
        return found

    return contenders


@dataclasses.dataclass(frozen=True)
class Change:
    suite: str
    case: str
    label: str
    metric: str
    before: Spread
    now: Spread
    ratio: Spread
    """Of now to before, within each round."""

    def verdict(self) -> str:
        """Slower or faster if each of the rounds says so and it is more than a trifle."""
        if self.ratio.low > 1 and self.ratio.median > 1 + NOTICEABLE:
            return SLOWER
        if self.ratio.high < 1 and self.ratio.median < 1 - NOTICEABLE:
            return FASTER
        return SAME


def changes(suite: Suite, results: Results) -> list[Change]:
    found = []
    for case, contenders in results.samples.items():
        for label in contenders:
            if label.startswith(PREFIX):
                continue
            for metric in suite.costs:
                before = results.spread(case, PREFIX + label, metric)
                now = results.spread(case, label, metric)
                ratio = results.ratio(case, metric, label, PREFIX + label)
                if before and now and ratio and before.median > 0:
                    title = suite.case_title(case)
                    found.append(Change(suite.name, title, label, metric, before, now, ratio))
    return found


def changes_table(found: Sequence[Change], title: str) -> Table:
    rows = [
        (
            f"{change.suite}: {change.case}: {change.label}",
            change.metric,
            number(change.before.median),
            number(change.now.median),
            with_range(change.ratio, "x"),
            change.verdict(),
        )
        for change in sorted(found, key=lambda change: -change.ratio.median)
    ]
    return Table(title, ("", "metric", "before", "now", "ratio (least-most)", ""), rows)
