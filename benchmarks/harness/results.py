"""Samples, the ratios between them, and the goals that these are held against."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from statistics import median


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median of several rounds, with the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        known = [value for value in values if value is not None]
        return cls(median(known), min(known), max(known)) if known else None


@dataclasses.dataclass
class Results:
    """What one suite measured: `samples[case][contender]` has an entry per round, or None."""

    samples: dict[str, dict[str, list[dict[str, float] | None]]] = dataclasses.field(
        default_factory=dict
    )
    skipped: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    """By case and contender: what the library has not (yet)."""
    failed: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    """By case and contender: how its program crashed or hung."""

    def add(self, case: str, contender: str, sample: dict[str, float] | None) -> None:
        self.samples.setdefault(case, {}).setdefault(contender, []).append(sample)

    def values(self, case: str, contender: str, metric: str) -> list[float | None]:
        samples = self.samples.get(case, {}).get(contender, [])
        return [sample.get(metric) if sample else None for sample in samples]

    def spread(self, case: str, contender: str, metric: str) -> Spread | None:
        return Spread.of(self.values(case, contender, metric))

    def compare(
        self,
        case: str,
        metric: str,
        ours: str,
        others: Sequence[str],
        how: Callable[[float, float], float],
    ) -> Spread | None:
        """Compares, round by round, with the others' smallest value of that round."""
        columns = [self.values(case, other, metric) for other in others]
        compared: list[float | None] = []
        for number, value in enumerate(self.values(case, ours, metric)):
            there = [column[number] for column in columns if number < len(column)]
            known = [other for other in there if other is not None]
            if value is not None and known:
                compared.append(how(value, min(known)))
        return Spread.of(compared)

    def ratio(self, case: str, metric: str, ours: str, *others: str) -> Spread | None:
        return self.compare(case, metric, ours, others, lambda mine, other: mine / (other or 1e-12))


@dataclasses.dataclass(frozen=True)
class Goal:
    """A bound on a metric that is a cost: seconds, bytes, percent of a core; less is better.

    With `against`, the ratio to the best of those is bounded; else the value itself. `at_least`
    bounds how many times *less* than the others' it is.
    """

    text: str
    case: str
    metric: str
    ours: str
    against: tuple[str, ...] = ()
    at_most: float | None = None
    at_least: float | None = None

    def measured(self, results: Results) -> Spread | None:
        if not self.against:
            return results.spread(self.case, self.ours, self.metric)
        if self.at_least is None:
            return results.ratio(self.case, self.metric, self.ours, *self.against)
        return results.compare(
            self.case,
            self.metric,
            self.ours,
            self.against,
            lambda mine, other: other / (mine or 1e-12),
        )

    def reached(self, measured: Spread) -> bool:
        if self.at_least is not None:
            return measured.median >= self.at_least
        assert self.at_most is not None
        return measured.median <= self.at_most

    def bound(self) -> str:
        times = "x" if self.against else ""
        if self.at_least is not None:
            return f">= {self.at_least:g}{times}"
        return f"<= {self.at_most:g}{times}"
