"""What it costs to do nothing, and how late a sleep ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.model import (
    ASYNCIO,
    C_PROGRAM,
    RAW_C,
    RUST,
    TINYIO,
    TONIO,
    TONIO_2,
    TONIO_YIELD,
    TRIO,
    Bench,
    Chart,
    Column,
    Contender,
    Suite,
    every_library,
    without,
)

SLEEPING, CONNECTED = "sleeping tasks", "idle connections"


class Idle(Suite):
    name = "idle"
    title = "Idle"
    text = (
        "CPU time, in percent of one core, of a process in which nothing is due. Then a thousand "
        "further tasks sleep for random times: how much later than wanted they come back."
    )
    columns = (
        Column("CPU, % of a core", "cpu_percent", style="range"),
        Column("late p50 ms", "late_p50_ms"),
        Column("late p99 ms", "late_p99_ms"),
        Column("late max ms", "late_max_ms"),
    )
    costs = ("cpu_percent", "late_p99_ms")
    chart = Chart("bars", "Idle: a sleep ends late, p99", "ms", "late_p99_ms")

    def cases(self) -> Sequence[str]:
        return [SLEEPING, CONNECTED]

    def case_title(self, case: str) -> str:
        return f"{self.settings.idle_count:,} {case}"

    def rounds(self, case: str) -> int:  # noqa: ARG002
        return self.settings.minor_rounds

    def contenders(self, case: str) -> Sequence[Contender]:
        if case == SLEEPING:
            return without(every_library(), TONIO_YIELD, TINYIO)
        return [
            Contender(RAW_C, C_PROGRAM),
            Contender(TONIO, "project", ("tonio-await",)),
            Contender(TONIO_2, "project", ("tonio-await",), threads=2),
            Contender(RUST, "rust", ("tonio-await",)),
            Contender(ASYNCIO, "python", ("asyncio-protocol",)),
            Contender(TRIO, "trio", ("trio",)),
        ]

    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:
        seconds, count = self.settings.idle_seconds, self.settings.idle_count
        if case == SLEEPING:
            options = ("--tasks", count, "--seconds", seconds)
            return bench.run(contender, "idle.py", *options, quiet=2 * seconds + 5)
        load = ("-i", "-c", count, "-w", 0.5, "-d", seconds)
        sample = bench.under_load(contender, load, quiet=2 * seconds + 15)
        return {"cpu_percent": sample["server_cpu_seconds"] / sample["seconds"] * 100}
