"""Runs what is measured: each time a new process, on the cores it is given, within a time limit."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.machine import BENCHMARKS, BUILD

PORT_LIMIT = 20.0
C_PROGRAMS = {"epoll_echo": "peers/epoll_echo.c", "echo_load": "load/echo_load.c"}

type Command = Sequence[str | Path]


class MeasurementError(Exception):
    """A program crashed, hung or did not say what it should."""


def environment() -> dict[str, str]:
    """The caller's, without what could change an interpreter."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def start(command: Command, cores: set[int], **options: Any) -> subprocess.Popen[str]:
    """Starts a process; it and its threads stay on these cores (affinity is inherited)."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            **options,
        )
    finally:
        os.sched_setaffinity(0, mine)


def warm_memory(size: int) -> None:
    """Touches so much memory and gives it back.

    On a virtual machine a page that nobody has used lately is had from the host, for many times the
    price of one that was. Without this, who needs more memory than the one before would pay for it.
    """
    with mmap.mmap(-1, size) as memory:
        for page in range(0, size, mmap.PAGESIZE):
            memory[page] = 1


def last_line(text: str, count: int = 1) -> str:
    return "\n".join(text.strip().splitlines()[-count:])


def cpu_seconds(pid: int) -> float:
    """The CPU time of another process (the clock that `clock_getcpuclockid` names in C)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def wait_for_output(process: subprocess.Popen[str], limit: float, quiet: float) -> tuple[str, str]:
    """Waits until it ends, but not for one that is stuck: no CPU time used for `quiet` seconds."""
    end = time.monotonic() + limit
    used, since = 0.0, time.monotonic()
    while True:
        try:
            return process.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        if (cpu := cpu_seconds(process.pid)) > used + 0.001:
            used, since = cpu, now
        if now > end:
            raise MeasurementError(f"no result within {limit:.0f} s")
        if now > since + quiet:
            raise MeasurementError(f"it hangs: no CPU time used for {quiet:.0f} s")


def run_text(command: Command, cores: set[int], *, limit: float = 120, quiet: float = 5) -> str:
    """Runs a program to its end; what it prints."""
    process = start(command, cores, stderr=subprocess.PIPE)
    try:
        output, errors = wait_for_output(process, limit, quiet)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode != 0:
        reason = last_line(errors, 3) or "no message"
        raise MeasurementError(f"exit status {process.returncode}: {reason}")
    return output


def run(command: Command, cores: set[int], **limits: float) -> dict[str, Any]:
    """Runs a program to its end; its last line of output is its result in JSON."""
    output = run_text(command, cores, **limits)
    try:
        result: dict[str, Any] = json.loads(last_line(output))
    except json.JSONDecodeError:
        raise MeasurementError(f"no result in its output {output[-200:]!r}") from None
    return result


@contextlib.contextmanager
def serving(command: Command, cores: set[int]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server and the line that it prints first. It must live until it is killed at the end."""
    log = BUILD / "server.log"
    with log.open("w+") as errors, start(command, cores, stderr=errors) as process:
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], PORT_LIMIT)
            line = process.stdout.readline() if ready else ""
            if not line:
                reason = last_line(log.read_text(), 3)
                raise MeasurementError(f"the server does not start: {reason}")
            yield process, line
            if process.poll() is not None:
                raise MeasurementError(f"the server died: {last_line(log.read_text(), 3)}")
        finally:
            process.kill()


@contextlib.contextmanager
def server(command: Command, cores: set[int]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that tells its port in JSON."""
    with serving(command, cores) as (process, line):
        yield process, int(json.loads(line)["port"])


def build_c_programs() -> dict[str, Path]:
    """Compiles the programs in C whose source is newer than what is in the build folder."""
    BUILD.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "cc").split()
    built = {}
    for name, source in C_PROGRAMS.items():
        target, file = BUILD / name, BENCHMARKS / source
        if not target.exists() or target.stat().st_mtime <= file.stat().st_mtime:
            fresh = target.with_suffix(f".{time.time_ns()}")
            options = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", str(fresh)]
            subprocess.run([*compiler, *options, str(file)], check=True)
            fresh.rename(target)
        built[name] = target
    return built
