"""Samples, and the ratios between them."""

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

    def times(self, scale: float) -> Spread:
        return Spread(self.median * scale, self.low * scale, self.high * scale)


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
