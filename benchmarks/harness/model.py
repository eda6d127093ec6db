"""What a suite is: cases, the contenders that meet in them, and the columns that are shown."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from harness.machine import PROGRAMS
from harness.peers import NATIVE, Peer
from harness.processes import Command, run, server
from harness.results import Results

C_PROGRAM = "C"
"""In the place of a peer: a program of this folder in C."""

ASYNCIO, TRIO, TINYIO = "asyncio", "trio", "tinyio"
TONIO, TONIO_YIELD, TONIO_2 = "TonIO", "TonIO yield", "TonIO, 2 threads"
RUST, RUST_2 = "Rust TonIO", "Rust TonIO, 2 threads"
RAW_C = "raw C epoll"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long everything takes."""

    name: str
    rounds: int
    minor_rounds: int
    """Of cases on which no target rests."""
    tasks: int = 1_000_000
    timers: int = 1_000_000
    many: int = 100_000
    """Tasks whose memory is read."""
    idle_count: int = 10_000
    operation_seconds: float = 0.5
    echo_seconds: float = 2.0
    idle_seconds: float = 4.0


SETTINGS = {
    settings.name: settings
    for settings in (
        Settings("smoke", 1, 1, 2000, 2000, 2000, 200, 0.01, 0.05, 0.1),
        Settings("quick", 3, 1, 1_000_000, 200_000, 50_000, 10_000, 0.15, 0.5, 2.0),
        Settings("full", 9, 3),
    )
}


@dataclasses.dataclass(frozen=True)
class Contender:
    """A program's arguments, and the peer whose interpreter runs it.

    One thread is pinned to the first core, two to the first two, and so on.
    """

    label: str
    peer: str
    arguments: tuple[str, ...] = ()
    threads: int = 1


@dataclasses.dataclass(frozen=True)
class Bench:
    """What a measurement needs: interpreters, the programs in C, and the cores that may be used."""

    peers: Mapping[str, Peer]
    c_programs: Mapping[str, Path]
    cores: Sequence[int]

    def has(self, contender: Contender) -> bool:
        if contender.peer == C_PROGRAM:
            return True
        return contender.peer in self.peers and not self.peers[contender.peer].problem

    def pinned(self, contender: Contender) -> set[int]:
        return set(self.cores[: contender.threads])

    def load_core(self) -> set[int]:
        """The last one: of more than one core the server has it only if it wants all."""
        return {self.cores[-1]}

    def command(self, contender: Contender, program: str, *more: object) -> list[str | Path]:
        python = self.peers[contender.peer].python
        threads = ("--threads", str(contender.threads))
        return [python, PROGRAMS / program, *contender.arguments, *threads, *map(str, more)]

    def run(
        self, contender: Contender, program: str, *more: object, **limits: float
    ) -> dict[str, Any]:
        """Runs a program of `programs/` to its end and gives its result."""
        return run(self.command(contender, program, *more), self.pinned(contender), **limits)

    def under_load(
        self,
        contender: Contender,
        load: Sequence[object],
        *,
        receive_size: int = 64 * 1024,
        more: Sequence[object] = (),
        quiet: float = 15,
    ) -> dict[str, Any]:
        """Starts the contender's echo server and puts load on it from another core."""
        if contender.peer == C_PROGRAM:
            command: Command = [self.c_programs["epoll_echo"], str(receive_size)]
        elif contender.peer in NATIVE:
            command = [self.peers[contender.peer].python, str(receive_size)]
        else:
            sizes = ("--receive-size", receive_size, *more)
            command = self.command(contender, "echo_server.py", *sizes)
        with server(command, self.pinned(contender)) as (process, port):
            options = map(str, ("-p", port, "-P", process.pid, *load))
            return run([self.c_programs["echo_load"], *options], self.load_core(), quiet=quiet)


@dataclasses.dataclass(frozen=True)
class Column:
    """A metric as it is shown: `scale` times, or as the ratio to another contender's."""

    title: str
    metric: str
    scale: float = 1
    against: str = ""
    style: Literal["plain", "range", "rate"] = "plain"


@dataclasses.dataclass(frozen=True)
class Chart:
    """A picture of one metric.

    `bars`: a bar for each contender of one case. `dots`: a line for each case with a dot for each
    contender, on a logarithmic scale if `log`; with `against` the ratio to that contender.
    """

    kind: Literal["bars", "dots"]
    title: str
    unit: str
    metric: str
    scale: float = 1
    log: bool = False
    inverse: bool = False
    """One by the metric: operations per second from seconds for an operation."""
    against: str = ""


class Suite(ABC):
    """Metrics are costs: less is better."""

    name: ClassVar[str]
    title: ClassVar[str]
    text: ClassVar[str]
    """What is measured and how it is to be read, for the document."""
    columns: ClassVar[tuple[Column, ...]]
    one_table: ClassVar[bool] = False
    """A single table of the first column: a line for each case, a column for each contender."""
    costs: ClassVar[tuple[str, ...]]
    """The metrics in which two commits are compared; by the first of them contenders are ranked."""
    chart: ClassVar[Chart]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def cases(self) -> Sequence[str]: ...

    @abstractmethod
    def contenders(self, case: str) -> Sequence[Contender]: ...

    @abstractmethod
    def measure(self, bench: Bench, case: str, contender: Contender) -> dict[str, Any]:
        """One sample. Raises MeasurementError; a result with `skipped` says why there is none."""

    def case_title(self, case: str) -> str:
        return case

    def rounds(self, case: str) -> int:  # noqa: ARG002
        return self.settings.rounds

    def why_not(self, bench: Bench) -> str:  # noqa: ARG002
        """Why this suite cannot be measured here, or nothing."""
        return ""

    def derive(self, results: Results) -> None:  # noqa: B027, most suites have nothing to add
        """Adds metrics that need several contenders."""


def is_ours(label: str) -> bool:
    return label.startswith("TonIO")


def every_library() -> list[Contender]:
    """Both notations and both numbers of threads of this project, and each peer."""
    return [
        Contender(TONIO, "project", ("tonio",)),
        Contender(TONIO_YIELD, "project", ("tonio-yield",)),
        Contender(TONIO_2, "project", ("tonio",), threads=2),
        Contender(RUST, "rust", ("tonio",)),
        Contender(RUST_2, "rust", ("tonio",), threads=2),
        Contender(ASYNCIO, "python", ("asyncio",)),
        Contender(TRIO, "trio", ("trio",)),
        Contender(TINYIO, "tinyio", ("tinyio",)),
    ]


def without(contenders: Sequence[Contender], *labels: str) -> list[Contender]:
    return [contender for contender in contenders if contender.label not in labels]
