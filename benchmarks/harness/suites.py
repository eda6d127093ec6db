"""The suites: which contenders meet in which cases, how a sample is taken, what is aimed at."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness.machine import PROGRAMS
from harness.peers import NATIVE, Peer
from harness.processes import Command, run, server
from harness.report import Table, plain, rate, with_range
from harness.results import Goal, Results

C_PROGRAM = "C"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long everything takes."""

    rounds: int
    tasks: int = 1_000_000
    operation_seconds: float = 0.2
    echo_seconds: float = 0.8
    idle_seconds: float = 2.0


QUICK = Settings(rounds=3)
FULL = Settings(rounds=7, operation_seconds=0.5, echo_seconds=2.0, idle_seconds=4.0)


@dataclasses.dataclass(frozen=True)
class Contender:
    """A program's arguments, and the peer whose interpreter runs it.

    What runs on one thread is pinned to the measured core; more threads get all cores.
    """

    label: str
    peer: str
    arguments: tuple[str, ...] = ()
    threads: int = 1


@dataclasses.dataclass(frozen=True)
class Bench:
    """What a measurement needs: interpreters, the programs in C, the cores, and the settings."""

    peers: dict[str, Peer]
    c_programs: dict[str, Path]
    measured_core: int
    load_core: int
    settings: Settings

    def has(self, contender: Contender) -> bool:
        return contender.peer == C_PROGRAM or not self.peers[contender.peer].problem

    def core(self, contender: Contender) -> int | None:
        return self.measured_core if contender.threads == 1 else None

    def command(self, contender: Contender, program: str, *more: object) -> list[str | Path]:
        python = self.peers[contender.peer].python
        threads = ("--threads", str(contender.threads))
        return [python, PROGRAMS / program, *contender.arguments, *threads, *map(str, more)]


class Suite(ABC):
    name: ClassVar[str]

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    @abstractmethod
    def cases(self) -> Sequence[str]: ...

    @abstractmethod
    def contenders(self, case: str) -> Sequence[Contender]: ...

    @abstractmethod
    def measure(self, case: str, contender: Contender) -> dict[str, Any]:
        """One sample. Raises MeasurementError; a result with `skipped` says why there is none."""

    @abstractmethod
    def tables(self, results: Results) -> list[Table]: ...

    def rounds(self) -> int:
        return self.bench.settings.rounds

    def derive(self, results: Results) -> None:  # noqa: B027, most suites have nothing to add
        """Adds metrics that need several contenders."""

    def goals(self) -> list[Goal]:
        return []


def is_ours(label: str) -> bool:
    return label.startswith("TonIO")


# ---- a million tasks ----------------------------------------------------------------------------

BARE = "bare send loop"
GATHER = "asyncio.gather"


def two_tonios(*variants: tuple[str, tuple[str, ...], int]) -> list[Contender]:
    """The same variants (what, arguments, threads) of this project and of the Rust TonIO."""
    return [
        Contender(f"{name} {what}".strip(), peer, arguments, threads)
        for name, peer in (("TonIO", "project"), ("Rust TonIO", "rust"))
        for what, arguments, threads in variants
    ]


class Tasks(Suite):
    name = "tasks"

    def cases(self) -> Sequence[str]:
        return ["tasks"]

    def contenders(self, case: str) -> Sequence[Contender]:  # noqa: ARG002
        return [
            Contender(BARE, "python", ("bare",)),
            *two_tonios(
                ("yield", ("tonio-yield",), 1),
                ("await", ("tonio-await",), 1),
                ("nested yield", ("tonio-nested",), 1),
                ("yield, 2 threads", ("tonio-yield",), 2),
                ("await, 2 threads", ("tonio-await",), 2),
            ),
            Contender(GATHER, "python", ("asyncio",)),
        ]

    def measure(self, case: str, contender: Contender) -> dict[str, Any]:  # noqa: ARG002
        count = self.bench.settings.tasks
        command = self.bench.command(contender, "tasks.py", "--count", count)
        return run(command, self.bench.core(contender))

    def derive(self, results: Results) -> None:
        bare = results.values("tasks", BARE, "bytes_per_task")
        for samples in results.samples.get("tasks", {}).values():
            for sample, generator in zip(samples, bare, strict=False):
                if sample and generator:
                    sample["bytes_above"] = sample["bytes_per_task"] - generator

    def tables(self, results: Results) -> list[Table]:
        header = ("", "create s", "execute s", "total s", "CPU s", "peak MB", "B/task above")
        rows = []
        for label in results.samples.get("tasks", {}):
            metric = {
                name: results.spread("tasks", label, name)
                for name in ("create_seconds", "execute_seconds", "total_seconds", "cpu_seconds")
            }
            rows.append(
                (
                    label,
                    *map(plain, metric.values()),
                    plain(results.spread("tasks", label, "peak_bytes"), 1e-6),
                    plain(results.spread("tasks", label, "bytes_above")),
                    with_range(results.ratio("tasks", "total_seconds", label, BARE), "x"),
                )
            )
        title = f"{self.bench.settings.tasks:,} tasks, each suspends once and returns"
        return [Table(title, (*header, "total / bare loop"), rows)]

    def goals(self) -> list[Goal]:
        total, case = "total_seconds", "tasks"
        rust = ("Rust TonIO yield", "Rust TonIO yield, 2 threads")
        generators = "TonIO yield"
        return [
            Goal("tasks: total, to the bare loop", case, total, generators, (BARE,), at_most=1),
            Goal("tasks: times faster than Rust TonIO", case, total, generators, rust, at_least=4),
            Goal(
                "tasks: times faster than asyncio", case, total, generators, (GATHER,), at_least=20
            ),
            Goal("tasks: bytes above a generator", case, "bytes_above", generators, at_most=160),
            Goal("tasks: await to yield", case, total, "TonIO await", (generators,), at_most=1.3),
            Goal(
                "tasks: nested yield, execution, times faster than Rust TonIO",
                case,
                "execute_seconds",
                "TonIO nested yield",
                ("Rust TonIO nested yield",),
                at_least=5,
            ),
        ]


# ---- echo ---------------------------------------------------------------------------------------

RAW_C = "raw C epoll"


@dataclasses.dataclass(frozen=True)
class EchoCase:
    connections: int
    size: int
    at_most: float
    everyone: bool = False
    """All contenders; else only the limit, this project and the leanest peers."""

    def __str__(self) -> str:
        return f"{self.connections} connections, {self.size // 1024} KiB"

    def receive_size(self) -> int:
        """What a receive asks for: 64 KiB, or more where a message would not fit."""
        return 64 * 1024 if self.size <= 64 * 1024 else 256 * 1024


class Echo(Suite):
    name = "echo"

    _cases: ClassVar[dict[str, EchoCase]] = {
        str(case): case
        for case in (
            EchoCase(64, 1024, at_most=1.12, everyone=True),
            EchoCase(64, 10 * 1024, at_most=1.10),
            EchoCase(64, 100 * 1024, at_most=1.08),
            EchoCase(1000, 1024, at_most=1.15),
        )
    }

    def cases(self) -> Sequence[str]:
        return list(self._cases)

    def contenders(self, case: str) -> Sequence[Contender]:
        lean = [
            Contender(RAW_C, C_PROGRAM),
            Contender("TonIO await", "project", ("tonio-await",)),
            Contender("TonIO yield", "project", ("tonio-yield",)),
            Contender("tokio", "tokio"),
            Contender("Go", "go"),
            Contender("uvloop Protocol", "uvloop", ("uvloop-protocol",)),
        ]
        if not self._cases[case].everyone:
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

    def measure(self, case: str, contender: Contender) -> dict[str, Any]:
        wanted = self._cases[case]
        sample = under_load(
            self.bench,
            contender,
            wanted.receive_size(),
            *("-c", wanted.connections, "-s", wanted.size),
            *("-w", 0.2, "-d", self.bench.settings.echo_seconds),
        )
        sample["cpu_us"] = sample["server_cpu_seconds"] / sample["requests"] * 1e6
        return sample

    def tables(self, results: Results) -> list[Table]:
        header = ("", "server CPU us/request", "x raw C", "req/s", "p50 us", "p99 us", "p99.9 us")
        tables = []
        for case, contenders in results.samples.items():
            rows = [
                (
                    label,
                    plain(results.spread(case, label, "cpu_us")),
                    with_range(results.ratio(case, "cpu_us", label, RAW_C)),
                    plain(results.spread(case, label, "requests_per_second")),
                    *(
                        plain(results.spread(case, label, metric))
                        for metric in ("p50_us", "p99_us", "p999_us")
                    ),
                )
                for label in contenders
            ]
            tables.append(Table(f"Echo: {case}, one thread on one core", header, rows))
        return tables

    def goals(self) -> list[Goal]:
        return [
            Goal(
                f"echo: CPU to raw C, {name}, {how}",
                name,
                "cpu_us",
                f"TonIO {how}",
                (RAW_C,),
                at_most=case.at_most,
            )
            for name, case in self._cases.items()
            for how in ("await", "yield")
        ]


def under_load(
    bench: Bench, contender: Contender, receive_size: int, *load_options: object
) -> dict[str, Any]:
    """Starts the contender's echo server and puts load on it from the other core."""
    if contender.peer == C_PROGRAM:
        command: Command = [bench.c_programs["epoll_echo"], str(receive_size)]
    elif contender.peer in NATIVE:
        command = [bench.peers[contender.peer].python, str(receive_size)]
    else:
        command = bench.command(contender, "echo_server.py", "--receive-size", receive_size)
    with server(command, bench.core(contender)) as (process, port):
        options = map(str, ("-p", port, "-P", process.pid, *load_options))
        quiet = 2 * bench.settings.idle_seconds + 15
        return run([bench.c_programs["echo_load"], *options], bench.load_core, quiet=quiet)


# ---- single operations --------------------------------------------------------------------------

ASYNCIO, TRIO = "asyncio", "trio"
TONIO_1, TONIO_2 = "TonIO", "TonIO, 2 threads"
RUST_1, RUST_2 = "Rust TonIO", "Rust TonIO, 2 threads"


def every_library() -> list[Contender]:
    return [
        Contender(TONIO_1, "project", ("tonio",)),
        Contender(TONIO_2, "project", ("tonio",), threads=2),
        Contender(RUST_1, "rust", ("tonio",)),
        Contender(RUST_2, "rust", ("tonio",), threads=2),
        Contender(ASYNCIO, "python", ("asyncio",)),
        Contender(TRIO, "trio", ("trio",)),
    ]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the operations table; `at_least` times as fast as the better column of `against`."""

    title: str
    at_least: float
    against: tuple[str, ...] = (RUST_1, RUST_2)


class Operations(Suite):
    name = "operations"

    _rows: ClassVar[dict[str, Row]] = {
        "yield_now": Row("yield_now in one task", 5),
        "spawn_join": Row("spawn one task and join it", 5),
        "event_set": Row("wait on an Event already set", 1, (ASYNCIO,)),
        "ping_pong": Row("channel(1) ping-pong of two tasks", 4),
        "channel_1": Row("channel(128), 1 to 1", 2),
        "channel_8": Row("channel(128), 8 to 8", 2),
        "lock_free": Row("free lock, take and release", 1.7),
        "lock_contended": Row("lock contended by 10 tasks", 3),
        "semaphore_4": Row("semaphore(4), 16 tasks", 3),
        "sleeps": Row("100 k random sleeps <= 0.2 s", 2),
        "timeout": Row("timeout(coro, 10), not expiring", 5),
        "spawn_blocking": Row("spawn_blocking, 50 in flight", 2),
    }

    def cases(self) -> Sequence[str]:
        return list(self._rows)

    def contenders(self, case: str) -> Sequence[Contender]:  # noqa: ARG002
        return every_library()

    def measure(self, case: str, contender: Contender) -> dict[str, Any]:
        seconds = self.bench.settings.operation_seconds
        command = self.bench.command(contender, "operations.py", case, "--seconds", seconds)
        return run(command, self.bench.core(contender), limit=60)

    def tables(self, results: Results) -> list[Table]:
        labels = [contender.label for contender in every_library()]
        rows = [
            (
                self._rows[case].title,
                *(rate(results.spread(case, label, "seconds_per_op")) for label in labels),
            )
            for case in results.samples
        ]
        return [Table("Operations per second, with await", ("", *labels), rows)]

    def goals(self) -> list[Goal]:
        metric = "seconds_per_op"
        first = [
            Goal(
                f"{row.title}: times faster than {row.against[0]}",
                case,
                metric,
                TONIO_1,
                row.against,
                at_least=row.at_least,
            )
            for case, row in self._rows.items()
        ]
        second = [
            Goal(
                f"{row.title}: 2 threads to 1",
                case,
                metric,
                TONIO_2,
                (TONIO_1,),
                at_least=0.9,
            )
            for case, row in self._rows.items()
        ]
        return first + second


# ---- doing nothing ------------------------------------------------------------------------------

SLEEPING, CONNECTED = "sleeping tasks", "idle connections"
IDLE_COUNT = 10_000
IDLE_PERCENT = 0.1
"""Of one core: what counts as no measurable CPU time."""


class Idle(Suite):
    name = "idle"

    def rounds(self) -> int:
        return max(1, super().rounds() // 3)

    def cases(self) -> Sequence[str]:
        return [SLEEPING, CONNECTED]

    def contenders(self, case: str) -> Sequence[Contender]:
        if case == SLEEPING:
            return every_library()
        return [
            Contender(RAW_C, C_PROGRAM),
            Contender(TONIO_1, "project", ("tonio-await",)),
            Contender(TONIO_2, "project", ("tonio-await",), threads=2),
            Contender(RUST_1, "rust", ("tonio-await",)),
            Contender(ASYNCIO, "python", ("asyncio-protocol",)),
            Contender(TRIO, "trio", ("trio",)),
        ]

    def measure(self, case: str, contender: Contender) -> dict[str, Any]:
        seconds = self.bench.settings.idle_seconds
        if case == SLEEPING:
            options = ("--tasks", IDLE_COUNT, "--seconds", seconds)
            command = self.bench.command(contender, "idle.py", *options)
            return run(command, self.bench.core(contender), quiet=2 * seconds + 5)
        load = ("-i", "-c", IDLE_COUNT, "-w", 0.5, "-d", seconds)
        sample = under_load(self.bench, contender, 64 * 1024, *load)
        return {"cpu_percent": sample["server_cpu_seconds"] / sample["seconds"] * 100}

    def tables(self, results: Results) -> list[Table]:
        header = ("", "CPU, % of a core", "late p50 ms", "late p99 ms", "late max ms")
        return [
            Table(
                f"Idle: {IDLE_COUNT:,} {case}",
                header if case == SLEEPING else header[:2],
                [
                    (
                        label,
                        with_range(results.spread(case, label, "cpu_percent")),
                        *(
                            plain(results.spread(case, label, f"late_{which}_ms"))
                            for which in (("p50", "p99", "max") if case == SLEEPING else ())
                        ),
                    )
                    for label in contenders
                ],
            )
            for case, contenders in results.samples.items()
        ]

    def goals(self) -> list[Goal]:
        return [
            *(
                Goal(f"idle: {case}, {who}: CPU %", case, "cpu_percent", who, at_most=IDLE_PERCENT)
                for case in (SLEEPING, CONNECTED)
                for who in (TONIO_1, TONIO_2)
            ),
            *(
                Goal(
                    f"idle: sleep ends late, {who}: p99 ms", SLEEPING, "late_p99_ms", who, at_most=1
                )
                for who in (TONIO_1, TONIO_2)
            ),
        ]


# ---- starting and stopping ----------------------------------------------------------------------


class Startup(Suite):
    name = "startup"

    def cases(self) -> Sequence[str]:
        return ["startup"]

    def contenders(self, case: str) -> Sequence[Contender]:  # noqa: ARG002
        return every_library()

    def measure(self, case: str, contender: Contender) -> dict[str, Any]:  # noqa: ARG002
        command = self.bench.command(contender, "startup.py")
        return run(command, self.bench.core(contender), limit=10)

    def tables(self, results: Results) -> list[Table]:
        rows = [
            (
                label,
                with_range(results.spread("startup", label, "first_ms")),
                with_range(results.spread("startup", label, "later_ms")),
            )
            for label in results.samples.get("startup", {})
        ]
        return [Table("Start a runtime, run nothing, stop it", ("", "first ms", "later ms"), rows)]


SUITES: dict[str, type[Suite]] = {
    suite.name: suite for suite in (Tasks, Echo, Operations, Idle, Startup)
}
