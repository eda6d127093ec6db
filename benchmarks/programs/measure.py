"""What the programs of this folder share: clocks, memory, and the JSON that is their result."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, Self


class Stopwatch:
    """The wall-clock and CPU seconds (of all threads) since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def wall(self) -> float:
        return time.perf_counter() - self._wall

    def cpu(self) -> float:
        return time.process_time() - self._cpu


class Phases:
    """The phases of a run and its memory since `begin`: what was imported before is not counted."""

    def __init__(self, begin: Stopwatch, resident: int) -> None:
        self._watch = begin
        self._resident = resident
        self._create = 0.0

    @classmethod
    def begin(cls) -> Self:
        return cls(Stopwatch(), resident_bytes("VmRSS"))

    def created(self) -> None:
        self._create = self._watch.wall()

    def ended(self) -> dict[str, float]:
        total = self._watch.wall()
        return {
            "create_seconds": self._create,
            "execute_seconds": total - self._create,
            "total_seconds": total,
            "cpu_seconds": self._watch.cpu(),
            "peak_bytes": resident_bytes("VmHWM"),
            "grown_bytes": resident_bytes("VmHWM") - self._resident,
        }


def resident_bytes(field: str) -> int:
    """`VmRSS` (now) or `VmHWM` (the peak; what getrusage tells would be inherited in part)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def spin(steps: int) -> int:
    """Computes for a while, without a call; a step takes some 50 ns."""
    done = 0
    while done < steps:
        done += 1
    return done


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def allow_many_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def report(result: dict[str, Any]) -> None:
    """Prints the result, and whether an import of the program has brought the global lock back."""
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(json.dumps({**result, "gil": gil}), flush=True)
