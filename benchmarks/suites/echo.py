"""Echo servers under load, on one thread and one core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from harness.model import C_PROGRAM, RAW_C, Bench, Chart, Column, Contender, Suite

TARGET_CASES = {(64, 1): 1.12, (64, 10): 1.10, (64, 100): 1.08, (1000, 1): 1.15}
"""Connections and KiB with the bound of the CPU time for a request against the server in C."""

FULL_CASE = (64, 1)
"""The case in which all contenders meet; in the others only the leanest."""


def case_name(connections: int, kib: int) -> str:
    return f"{connections} connection{'s' * (connections > 1)}, {kib} KiB"


class Echo(Suite):
    name = "echo"
    title = "Echo"
    text = (
        "Each connection has one message on its way. CPU time for a request is the server's, read "
        "at both ends of the window; on a machine with other work it varies far less than "
        "requests per second. Latencies are those that the load generator sees; with many "
        "connections they are the length of the queue."
    )
    columns = (
        Column("server CPU us/request", "cpu_us"),
        Column("x raw C", "cpu_us", against=RAW_C),
        Column("requests/s", "requests_per_second"),
        Column("p50 us", "p50_us"),
        Column("p99 us", "p99_us"),
        Column("p99.9 us", "p999_us"),
    )
    costs = ("cpu_us", "p99_us")
    chart = Chart(
        "dots", "Echo: server CPU for a request", "x raw C", "cpu_us", log=True, against=RAW_C
    )

    _cases: ClassVar[dict[str, tuple[int, int]]] = {
        case_name(connections, kib): (connections, kib)
        for connections in (64, 1, 1000)
        for kib in (1, 10, 100)
    }

    def cases(self) -> Sequence[str]:
        return list(self._cases)

    def rounds(self, case: str) -> int:
        main = self._cases[case] in TARGET_CASES
        return self.settings.rounds if main else self.settings.minor_rounds

    def contenders(self, case: str) -> Sequence[Contender]:
        lean = [
            Contender(RAW_C, C_PROGRAM),
            Contender("TonIO await", "project", ("tonio-await",)),
            Contender("TonIO yield", "project", ("tonio-yield",)),
            Contender("tokio", "tokio"),
            Contender("Go", "go"),
            Contender("uvloop Protocol", "uvloop", ("uvloop-protocol",)),
        ]
        if self._cases[case] != FULL_CASE:
            return lean
        return [
            *lean,
            Contender("uvloop sock_*", "uvloop", ("uvloop-sock",)),
            Contender("asyncio Protocol", "python", ("asyncio-protocol",)),
            Contender("asyncio sock_*", "python", ("asyncio-sock",)),
            Contender("Rust TonIO await", "rust", ("tonio-await",)),
            Contender("Rust TonIO yield", "rust", ("tonio-yield",)),
            Contender("trio", "trio", ("trio",)),
        ]

    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:
        connections, kib = self._cases[case]
        seconds = self.settings.echo_seconds
        load = ("-c", connections, "-s", kib * 1024, "-w", min(0.2, seconds), "-d", seconds)
        # A receive asks for 64 KiB, or more where a message would not fit.
        receive_size = 64 * 1024 if kib <= 64 else 256 * 1024
        sample = bench.under_load(contender, load, receive_size=receive_size)
        sample["cpu_us"] = sample["server_cpu_seconds"] / sample["requests"] * 1e6
        return sample
