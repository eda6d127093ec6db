"""How long others wait while a task computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from harness.model import (
    ASYNCIO,
    RUST,
    RUST_2,
    TONIO,
    TONIO_2,
    TRIO,
    Bench,
    Chart,
    Column,
    Contender,
    Suite,
)


class Fairness(Suite):
    name = "fairness"
    title = "Fairness"
    text = (
        "8 connections of an echo server, 1 KiB each, while a further task of the same runtime "
        "computes: it lets others run after each millisecond, or never. What never lets others run "
        "stops a runtime of one thread for good. On two threads the load shares a core with the "
        "server where there are only two."
    )
    columns = (
        Column("p50 us", "p50_us"),
        Column("p99 us", "p99_us"),
        Column("p99.9 us", "p999_us"),
        Column("requests/s", "requests_per_second"),
    )
    costs = ("p99_us", "p50_us")
    chart = Chart(
        "dots", "Fairness: p99 of an echo beside a task that computes", "us", "p99_us", log=True
    )

    _hogs: ClassVar[dict[str, str]] = {
        "nobody computes": "0",
        "pauses each millisecond": "1",
        "never pauses": "inf",
    }

    def cases(self) -> Sequence[str]:
        return list(self._hogs)

    def rounds(self, case: str) -> int:  # noqa: ARG002
        return self.settings.minor_rounds

    def contenders(self, case: str) -> Sequence[Contender]:
        everyone = [
            Contender(TONIO, "project", ("tonio-await",)),
            Contender(TONIO_2, "project", ("tonio-await",), threads=2),
            Contender(RUST, "rust", ("tonio-await",)),
            Contender(RUST_2, "rust", ("tonio-await",), threads=2),
            Contender(ASYNCIO, "python", ("asyncio-sock",)),
            Contender(TRIO, "trio", ("trio",)),
        ]
        if self._hogs[case] == "inf":
            return [contender for contender in everyone if contender.threads > 1]
        return everyone

    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:
        seconds = self.settings.echo_seconds
        load = ("-c", 8, "-s", 1024, "-w", min(0.2, seconds), "-d", seconds)
        return bench.under_load(contender, load, more=("--hog", self._hogs[case]))
