"""Runs tests under many seeds of the scheduler: ``run.py --seeds 1000``.

Each of a few processes takes every so manyth seed, sets TONIO_SCHEDULE_SEED and runs a sample of
the tests (scenarios.py). What fails or hangs is printed with its seed and the command that does it
again:
``run.py --only test_channel::test_x --seed 17 --times 100``.
"""

import argparse
import ast
import faulthandler
import os
import signal
import subprocess
import sys
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread
from time import monotonic

from scenarios import SLOW_SECONDS, SUITES, THREADS, duration, sample, scenarios

HANGING_SECONDS = 30.0
HERE = Path(__file__)


# --- in a process that runs seeds -------------------------------------------------------------


def run_once(name: str, seed: int | None) -> str | None:
    """A scenario under a seed: None, or what went wrong."""
    import tonio

    if seed is not None:
        os.environ["TONIO_SCHEDULE_SEED"] = str(seed)
    reports: list[str] = []
    sys.unraisablehook = lambda report: reports.append(
        f"unraisable: {report.err_msg}: {report.exc_value!r}"
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tonio.run(_all[name](), threads=THREADS)
    except BaseException:
        return traceback.format_exc()
    return "\n".join(reports) or None


_all = scenarios(list(SUITES))


def say(kind: str, *words: object) -> None:
    print(kind, *words, flush=True)


def work(first: int, last: int, step: int, suites: list[str]) -> None:
    """Tells each seed and scenario before it begins: who reads knows where a process died."""
    faulthandler.enable()
    names = [name for name in scenarios(suites) if duration(_all[name]) < SLOW_SECONDS]
    say("scenarios", len(names))
    for seed in range(first, last, step):
        for name in sample(seed, names):
            say("begin", seed, name)
            failure = run_once(name, seed)
            if failure is not None:
                say("failed", seed, name)
                say("because", repr(failure))
        say("done", seed)


def repeat(name: str, seed: int | None, times: int) -> int:
    """The same scenario and seed, again and again."""
    failures = [failure for _ in range(times) if (failure := run_once(name, seed)) is not None]
    if failures:
        print(failures[-1])
    print(f"{name}, seed {seed}: {len(failures)} of {times} failed")
    return 1 if failures else 0


# --- in the one that starts them --------------------------------------------------------------


@dataclass
class Progress:
    seeds: int
    done: int = 0
    runs: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    start: float = field(default_factory=monotonic)
    told: float = field(default_factory=monotonic)
    lock: Lock = field(default_factory=Lock)

    def failed(self, seed: int, name: str, why: str) -> None:
        self.failures.append((seed, name))
        print(f"FAILED with seed {seed}: {name}\n{why.rstrip()}")
        print(
            f"  again: .venv/bin/python {HERE} --only {name} --seed {seed} --times 100", flush=True
        )

    def tell(self, always: bool = False) -> None:
        if always or monotonic() - self.told > 10:
            self.told = monotonic()
            print(
                f"{self.done} of {self.seeds} seeds, {self.runs} runs, "
                f"{len(self.failures)} failures, {monotonic() - self.start:.0f} s",
                flush=True,
            )


class Job:
    """A process that runs every `step`-th seed; when it dies, another one goes on."""

    def __init__(self, first: int, last: int, step: int, suites: str, progress: Progress) -> None:
        self.next_seed, self.last, self.step, self.suites = first, last, step, suites
        self.progress = progress
        self.heard = monotonic()
        self.process: subprocess.Popen[str] | None = None
        self.thread = Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while self.next_seed < self.last and self.follow():
            pass

    def follow(self) -> bool:
        """Starts a process and reads what it says until it ends. Is there a point in another?"""
        command = [sys.executable, str(HERE), "--first", str(self.next_seed)]
        command += ["--last", str(self.last), "--step", str(self.step), "--suites", self.suites]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        current: tuple[int, str] | None = None
        rest = []
        for line in self.process.stdout:
            self.heard = monotonic()
            kind, _, words = line.rstrip("\n").partition(" ")
            with self.progress.lock:
                if kind == "begin":
                    seed, name = words.split(" ")
                    current = int(seed), name
                    self.next_seed = int(seed) + self.step
                    self.progress.runs += 1
                elif kind == "because":
                    assert current is not None
                    self.progress.failed(*current, str(ast.literal_eval(words)))
                elif kind == "done":
                    self.progress.done += 1
                    self.progress.tell()
                elif kind not in {"failed", "scenarios"}:
                    rest.append(line)
        if self.process.wait() == 0:
            return False
        with self.progress.lock:
            why = f"the process ended with {self.process.returncode}\n{''.join(rest)}"
            self.progress.failed(*(current or (-1, "(no scenario)")), why)
        return current is not None

    def look(self) -> None:
        """Does it still say something? A signal makes it tell where it hangs, and die."""
        if self.process is not None and monotonic() - self.heard > HANGING_SECONDS:
            self.heard = monotonic()
            self.process.send_signal(signal.SIGABRT)


def spread(first: int, seeds: int, jobs: int, suites: str) -> int:
    progress = Progress(seeds)
    running = [Job(first + job, first + seeds, jobs, suites, progress) for job in range(jobs)]
    for job in running:
        while job.thread.is_alive():
            job.thread.join(1.0)
            for other in running:
                other.look()
    progress.tell(always=True)
    return 1 if progress.failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--last", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--step", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--suites", default=",".join(SUITES))
    parser.add_argument("--only", help="one scenario, as it was printed")
    parser.add_argument("--seed", type=int, help="none: as if there were no seeds")
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    suites = options.suites.split(",")
    if options.only is not None:
        return repeat(options.only, options.seed, options.times)
    if options.last is not None:
        work(options.first, options.last, options.step, suites)
        return 0
    return spread(options.first, options.seeds, options.jobs, options.suites)


if __name__ == "__main__":
    sys.exit(main())
