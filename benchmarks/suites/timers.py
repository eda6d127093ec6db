"""Many pending time limits, and their cancellation in random order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.model import (
    RUST_2,
    TONIO_2,
    Bench,
    Chart,
    Column,
    Contender,
    Suite,
    every_library,
    without,
)


class Timers(Suite):
    name = "timers"
    title = "Timers"
    text = (
        "As many tasks wait for an event each, for at most an hour; then the events are set in "
        "random order, so that each timer is taken away long before it is due. Each figure "
        "includes the task around the timer."
    )
    columns = (
        Column("begin to wait, us", "arm_us"),
        Column("cancel and end, us", "cancel_us"),
        Column("B of a waiting task", "timer_bytes"),
    )
    costs = ("total_us", "timer_bytes")
    chart = Chart("bars", "Timers: begin to wait, cancel and end", "us for each", "total_us")

    def cases(self) -> Sequence[str]:
        return ["pending"]

    def case_title(self, case: str) -> str:  # noqa: ARG002
        return f"{self.settings.timers:,} pending time limits"

    def rounds(self, case: str) -> int:  # noqa: ARG002
        return self.settings.minor_rounds

    def contenders(self, case: str) -> Sequence[Contender]:  # noqa: ARG002
        return without(every_library(), TONIO_2, RUST_2)

    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:  # noqa: ARG002
        return bench.run(contender, "timers.py", "--count", self.settings.timers)
