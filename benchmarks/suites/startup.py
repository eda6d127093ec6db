"""Importing a library, starting its runtime and stopping it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.model import (
    TINYIO,
    TONIO_YIELD,
    Bench,
    Chart,
    Column,
    Contender,
    Suite,
    every_library,
    without,
)

EMPTY, FULL = "nothing to run", "tasks still wait at the end"


class Startup(Suite):
    name = "startup"
    title = "Start and stop"
    text = (
        "*First* is the first run of a process, *later* the median of the following ones (Rust "
        "TonIO has none, its runtime starts once in a process). In the second table tasks still "
        "wait for an event when the main task has ended; *stop* is how long the runtime takes to "
        "dispose of them."
    )
    columns = (
        Column("import ms", "import_ms"),
        Column("first start ms", "first_start_ms"),
        Column("first stop ms", "first_stop_ms"),
        Column("later, both ms", "later_ms"),
    )
    costs = ("first_ms", "import_ms")
    chart = Chart("bars", "Start and stop: first run of a process", "ms", "first_ms")

    def cases(self) -> Sequence[str]:
        return [EMPTY, FULL]

    def case_title(self, case: str) -> str:
        return f"{self.settings.idle_count:,} {case}" if case == FULL else case

    def contenders(self, case: str) -> Sequence[Contender]:  # noqa: ARG002
        return without(every_library(), TONIO_YIELD, TINYIO)

    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:
        waiting = self.settings.idle_count if case == FULL else 0
        once = case == FULL or contender.peer == "rust"
        options = ("--waiting", waiting, "--runs", 0 if once else 200)
        return bench.run(contender, "startup.py", *options, limit=30)
