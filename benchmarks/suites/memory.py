"""The memory of tasks and of idle connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from harness.model import (
    ASYNCIO,
    C_PROGRAM,
    RAW_C,
    RUST,
    RUST_2,
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

CONNECTIONS = "idle connection"


class Memory(Suite):
    name = "memory"
    title = "Memory"
    text = (
        "Growth of resident memory for each task, its coroutine included (which is the same for "
        "all and about half of TonIO's figure), and for each connection of an echo server that "
        "waits for its first byte (the server in Rust has a buffer of 64 KiB for each). What the "
        "kernel needs for a connection is not in it."
    )
    columns = (Column("bytes for each", "bytes"),)
    one_table = True
    costs = ("bytes",)
    chart = Chart("dots", "Memory", "bytes for each", "bytes", log=True)

    _states: ClassVar[dict[str, str]] = {
        "ready task": "ready",
        "task that waits for an event": "waiting",
        "sleeping task": "sleeping",
    }

    def cases(self) -> Sequence[str]:
        return [*self._states, CONNECTIONS]

    def rounds(self, case: str) -> int:  # noqa: ARG002
        return self.settings.minor_rounds

    def contenders(self, case: str) -> Sequence[Contender]:
        if case != CONNECTIONS:
            return without(every_library(), TONIO_2, RUST_2)
        return [
            Contender(TONIO, "project", ("tonio-await",)),
            Contender(TONIO_YIELD, "project", ("tonio-yield",)),
            Contender(RUST, "rust", ("tonio-await",)),
            Contender(ASYNCIO, "python", ("asyncio-protocol",)),
            Contender(TRIO, "trio", ("trio",)),
            Contender(RAW_C, C_PROGRAM),
            Contender("tokio", "tokio"),
            Contender("Go", "go"),
        ]

    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:
        if case == CONNECTIONS:
            count = self.settings.idle_count
            sample = bench.under_load(contender, ("-i", "-c", count, "-w", 0.5, "-d", 0.1))
            return {"bytes": sample["server_grown_bytes"] / count}
        count = self.settings.many
        sample = bench.run(contender, "memory.py", self._states[case], "--count", count)
        return {"bytes": sample["task_bytes"]}
