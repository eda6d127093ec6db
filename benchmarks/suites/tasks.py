"""A million tasks that suspend once and return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from harness.machine import memory_bytes
from harness.model import ASYNCIO, TINYIO, TRIO, Bench, Chart, Column, Contender, Suite
from harness.processes import warm_memory
from harness.results import Results

BARE, BARE_DEEP = "bare send loop", "bare send loop, yield from"
MOST_MEMORY = 2 << 30  # what the contender that needs most is content with
LIMITS = {"tasks": BARE, "ten calls": BARE_DEEP}


def two_tonios(*variants: tuple[str, str, int]) -> list[Contender]:
    """The same variants (what, argument, threads) of this project and of the Rust TonIO."""
    return [
        Contender(f"{name} {what}", peer, (argument,), threads)
        for name, peer in (("TonIO", "project"), ("Rust TonIO", "rust"))
        for what, argument, threads in variants
    ]


class Tasks(Suite):
    name = "tasks"
    title = "Tasks"
    text = (
        "Coroutines are made, spawned, suspend once and return. *Create* is the making and the "
        "spawning, *execute* is all until the last of them is freed. The limit is a loop that "
        "calls `send` on as many generators. In the second table each task suspends in the tenth "
        "of a row of nested calls, and there are a tenth as many."
    )
    columns = (
        Column("create s", "create_seconds"),
        Column("execute s", "execute_seconds"),
        Column("total s", "total_seconds"),
        Column("CPU s", "cpu_seconds"),
        Column("peak MB", "peak_bytes", 1e-6),
        Column("B/task above the bare loop", "bytes_above"),
        Column("total / bare loop", "total_ratio", style="range"),
    )
    costs = ("total_seconds", "cpu_seconds", "bytes_per_task")
    chart = Chart("bars", "Tasks: total time", "s", "total_seconds")

    _variants: ClassVar[dict[str, list[Contender]]] = {
        "tasks": [
            Contender(BARE, "python", ("bare",)),
            *two_tonios(
                ("yield", "tonio-yield", 1),
                ("await", "tonio-await", 1),
                ("context=True", "tonio-context", 1),
                ("two calls", "tonio-nested", 1),
                ("yield, 2 threads", "tonio-yield", 2),
                ("await, 2 threads", "tonio-await", 2),
            ),
            Contender(ASYNCIO, "python", ("asyncio",)),
            Contender(TRIO, "trio", ("trio",)),
            Contender(TINYIO, "tinyio", ("tinyio",)),
        ],
        "ten calls": [
            Contender(BARE_DEEP, "python", ("bare-deep",)),
            *two_tonios(
                ("yield", "tonio-yield-deep", 1),
                ("yield from", "tonio-from-deep", 1),
                ("await", "tonio-await-deep", 1),
            ),
            Contender(ASYNCIO, "python", ("asyncio-deep",)),
        ],
    }

    def cases(self) -> Sequence[str]:
        return list(self._variants)

    def contenders(self, case: str) -> Sequence[Contender]:
        return self._variants[case]

    def count(self, case: str) -> int:
        return self.settings.tasks // (10 if case == "ten calls" else 1)

    def case_title(self, case: str) -> str:
        deep = ", ten calls deep" if case == "ten calls" else ""
        return f"{self.count(case):,} that suspend once{deep}"

    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:
        warm_memory(min(MOST_MEMORY, memory_bytes() // 4))
        return bench.run(contender, "tasks.py", "--count", self.count(case))

    def derive(self, results: Results) -> None:
        for case, limit in LIMITS.items():
            bare = results.samples.get(case, {}).get(limit, [])
            for samples in results.samples.get(case, {}).values():
                for sample, least in zip(samples, bare, strict=False):
                    if sample and least:
                        sample["bytes_above"] = sample["bytes_per_task"] - least["bytes_per_task"]
                        sample["total_ratio"] = sample["total_seconds"] / least["total_seconds"]
