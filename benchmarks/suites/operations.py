"""Single operations, and the pool for blocking calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from harness.model import Bench, Chart, Column, Contender, Suite, every_library

TITLES = {
    "yield_now": "yield_now in one task",
    "spawn_join": "spawn one task and join it",
    "event_set": "wait on an Event already set",
    "ping_pong": "channel(1) ping-pong of two tasks",
    "channel_1": "channel(128), 1 to 1",
    "channel_8": "channel(128), 8 to 8",
    "lock_free": "free lock, take and release",
    "lock_contended": "lock contended by 10 tasks",
    "semaphore_4": "semaphore(4), 16 tasks",
    "sleeps": "100 k random sleeps of up to 0.2 s",
    "timeout": "timeout(coro, 10), not expiring",
    "spawn_blocking": "spawn_blocking, 50 in flight",
}


class Operations(Suite):
    name = "operations"
    title = "Operations"
    text = (
        "One kind of operation at a time, in `await` notation unless it says `yield`. tinyio knows "
        "only `yield`, and has no channels."
    )
    columns = (Column("per second", "seconds_per_op", style="rate"),)
    one_table = True
    costs = ("seconds_per_op", "cpu_per_op")
    chart = Chart("dots", "Operations", "per second", "seconds_per_op", log=True, inverse=True)

    titles: ClassVar[dict[str, str]] = TITLES

    def cases(self) -> Sequence[str]:
        return list(self.titles)

    def case_title(self, case: str) -> str:
        return self.titles[case]

    def contenders(self, case: str) -> Sequence[Contender]:  # noqa: ARG002
        return every_library()

    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:
        seconds = self.settings.operation_seconds
        return bench.run(contender, "operations.py", case, "--seconds", seconds, limit=30)


class Blocking(Operations):
    name = "blocking"
    title = "Blocking calls"
    text = "A function that does nothing is run on the pool; so many callers wait for one each."
    chart = Chart("dots", "Blocking calls", "per second", "seconds_per_op", log=True, inverse=True)

    titles: ClassVar[dict[str, str]] = {
        "blocking_1": "1 in flight",
        "blocking_400": "400 in flight",
    }

    def rounds(self, case: str) -> int:  # noqa: ARG002
        return self.settings.minor_rounds
