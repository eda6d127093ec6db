"""What more threads bring: tasks that compute, fan-out and fan-in, echo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from harness.machine import cores
from harness.model import Bench, Chart, Column, Contender, Suite


def thread_counts() -> list[int]:
    """1, 2, 4 ... and as many as there are cores; 2 in any case, as targets are about 2."""
    most = max(2, len(cores()))
    return sorted({count for count in (1, 2, 4, 8, 16, 32, most) if count <= most})


def counted(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


class Scaling(Suite):
    name = "scaling"
    title = "Scaling"
    text = (
        "As many cores as threads. In the first case 64 tasks compute, and let others run after "
        "each millisecond; in the second 200 tasks that compute some 20 us are started and their "
        "results collected, over and over. The plain threads do the same work, each its share "
        "without a pause; for fan-out and fan-in they are a `ThreadPoolExecutor`. The load of the "
        "echo server needs a core itself: with as many threads as cores it shares one with the "
        "server."
    )
    columns = (
        Column("us for each", "us_per_op"),
        Column("CPU us for each", "cpu_us_per_op"),
        Column("requests/s", "requests_per_second"),
        Column("p99 us", "p99_us"),
    )
    costs = ("seconds_per_op", "cpu_per_op")
    chart = Chart("dots", "Scaling", "us for each", "us_per_op", log=True)

    _titles: ClassVar[dict[str, str]] = {
        "cpu": "tasks that compute a millisecond",
        "fan": "fan-out and fan-in of 200 tasks",
        "echo": "echo, 64 connections, 1 KiB",
    }

    def cases(self) -> Sequence[str]:
        return list(self._titles)

    def case_title(self, case: str) -> str:
        return self._titles[case]

    def contenders(self, case: str) -> Sequence[Contender]:
        kinds = [("TonIO", "project"), ("Rust TonIO", "rust")]
        argument = "tonio-await" if case == "echo" else "tonio"
        found = [
            Contender(f"{name}, {counted(threads)}", peer, (argument,), threads)
            for name, peer in kinds
            for threads in thread_counts()
        ]
        if case == "echo":
            return found
        plain = [
            Contender(f"plain threads, {counted(threads)}", "python", ("threads",), threads)
            for threads in thread_counts()
        ]
        return [*plain, *found]

    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:
        seconds = self.settings.echo_seconds
        if case == "echo":
            load = ("-c", 64, "-s", 1024, "-w", min(0.2, seconds), "-d", seconds)
            sample = bench.under_load(contender, load)
            sample["seconds_per_op"] = sample["seconds"] / sample["requests"]
            sample["cpu_per_op"] = sample["server_cpu_seconds"] / sample["requests"]
        else:
            # On one core of today 10 pieces for each of the 64 tasks take about half a second.
            work = (
                "--pieces",
                max(1, round(20 * seconds)),
                "--rounds",
                max(2, round(200 * seconds)),
            )
            sample = bench.run(contender, "scaling.py", case, *work)
        sample["us_per_op"] = sample["seconds_per_op"] * 1e6
        sample["cpu_us_per_op"] = sample["cpu_per_op"] * 1e6
        return sample
