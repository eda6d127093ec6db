"""Everything at once for a long time, in both notations: nothing is lost, and nothing grows.

    python tests/stress/soak.py [--minutes N] [--threads N] [--out FOLDER]

Each kind of round of soak_work.py is driven by tasks of its own in either notation. Beside them
another thread starts tasks, and signals come all the time. Memory, descriptors and threads are
sampled each second into samples.csv, objects now and then, when all rest, into blocks.csv; all are
drawn in soak.svg, and summary.json says what came of it.

It fails if a round finds something wrong, if a kind of round stands still, if memory, objects,
descriptors or threads grow over the second half, and if some are left when the run has ended.
"""

from __future__ import annotations

import argparse
import ast
import faulthandler
import gc
import json
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import samples
import soak_work
from notation import to_yield

import tonio.colored as tonio
from tonio.colored.net import socket
from tonio.exceptions import ResourceBroken, ResourceClosed, TaskCancelled

DRIVERS = 2  # tasks for each kind of round, in each notation
QUIET_EVERY = 10.0  # seconds between two counts of objects
REST = 1.0  # seconds after which nothing goes on any more
STANDSTILL = 30.0  # seconds without any round of a kind
GRACE = 60.0  # seconds that the end may take


def with_yield() -> Any:
    path = Path(soak_work.__file__)
    module = ModuleType("soak_work_yield")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(compile(to_yield(ast.parse(path.read_text())), path, "exec"), vars(module))
    return module


YIELD = with_yield()
EXPECTED = (
    *(module.Planned for module in (soak_work, YIELD)),
    ResourceBroken, ResourceClosed, TaskCancelled, ConnectionError,
)  # fmt: skip


class Soak:
    def __init__(self, seconds: float, threads: int, folder: Path) -> None:
        self.seconds = seconds
        self.threads = threads
        self.folder = folder
        self.over = tonio.Event()
        self.begun = time.monotonic()
        self.modules: dict[str, Any] = {"await": soak_work, "yield": YIELD}
        self.tallies = {
            f"{name}[{notation}]": [0] * DRIVERS
            for name in soak_work.ROUNDS
            for notation in self.modules
        }
        self.samples = samples.Track("rss_mb", "descriptors", "threads", "rounds")
        self.quiet = samples.Track("blocks")
        self.gate = tonio.Event()  # down: nothing new is begun
        self.gate.set()
        self.problems: list[str] = []
        self.signals = 0  # written on the main thread
        self.signalled = tonio.Event()
        self.asked = self.answered = 0  # written by one thread each
        self.woken = 0  # written by one task

    # --- beside the rounds

    def on_signal(self, *_: object) -> None:
        self.signals += 1
        self.signalled.set()

    async def answer_signals(self) -> None:
        while not self.over.is_set():
            if await self.signalled.wait(1):
                self.signalled.clear()
                self.woken += 1

    def send_signals(self) -> None:
        while not self.over.is_set():
            if self.gate.is_set():
                os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.003)

    def ask(self, scope: Any) -> None:
        """A thread of the program's own, which starts tasks and waits for what they do."""

        async def answer(box: threading.Event) -> None:
            await tonio.sleep(0.0001)
            self.answered += 1
            box.set()

        while not self.over.is_set():
            if not self.gate.is_set():
                time.sleep(0.003)
                continue
            box = threading.Event()
            self.asked += 1
            scope.spawn(answer(box))
            box.wait()
            time.sleep(0.001)

    def count_blocks(self) -> None:
        """How many objects there are, when everybody has come to rest: a leak shows at once."""
        self.gate.clear()
        time.sleep(REST)
        gc.collect()
        gc.collect()
        self.quiet.add(time.monotonic() - self.begun, sys.getallocatedblocks())
        self.gate.set()

    def watch(self) -> None:
        """Samples each second; says when something stands still; ends the rounds in the end."""
        moved = dict.fromkeys(self.tallies, (0, self.begun))
        now = self.begun
        while not self.over.is_set():
            time.sleep(1 - (time.monotonic() - self.begun) % 1)
            if time.monotonic() // QUIET_EVERY != now // QUIET_EVERY:
                self.count_blocks()
            now = time.monotonic()
            total = sum(map(sum, self.tallies.values()))
            sample = (samples.memory(), samples.descriptors(), samples.threads(), total)
            self.samples.add(now - self.begun, *sample)
            for name, tally in self.tallies.items():
                if sum(tally) != moved[name][0]:
                    moved[name] = (sum(tally), now)
                elif now - moved[name][1] > STANDSTILL:
                    self.problems.append(f"{name} stands still after {sum(tally)} rounds")
            if len(self.samples.columns["seconds"]) % 15 == 0:
                print(
                    f"{now - self.begun:6.0f} s  {total:8d} rounds  {sample[0]:7.1f} MB  "
                    f"{sample[1]:4d} descriptors  {sample[2]:3d} threads",
                    flush=True,
                )
            if self.problems or now - self.begun > self.seconds:
                self.over.set()
        faulthandler.dump_traceback_later(GRACE, exit=True)  # the end must come

    # --- all together

    async def program(self, folder: str) -> None:
        tcp, unix = socket.socket(), socket.socket(socket.AF_UNIX)
        await tcp.bind(("127.0.0.1", 0))
        await unix.bind(f"{folder}/socket")
        tcp.listen(128)
        unix.listen(128)
        servers = soak_work.Servers(
            (socket.AF_INET, tcp.getsockname()), (socket.AF_UNIX, unix.getsockname())
        )
        async with tonio.scope() as serving:
            serving.spawn(soak_work.serve(tcp))
            serving.spawn(self.modules["yield"].serve(unix))
            async with tonio.scope() as scope:
                scope.spawn(self.answer_signals())
                for name in soak_work.ROUNDS:
                    for notation, module in self.modules.items():
                        tally = self.tallies[f"{name}[{notation}]"]
                        for own in range(DRIVERS):
                            scope.spawn(
                                module.drive(
                                    name,
                                    servers,
                                    over=self.over,
                                    gate=self.gate,
                                    tally=tally,
                                    own=own,
                                )
                            )
                helpers = [
                    threading.Thread(target=self.watch, name="watch"),
                    threading.Thread(target=self.send_signals, name="signals"),
                    threading.Thread(target=self.ask, args=(serving,), name="asks"),
                ]
                for thread in helpers:
                    thread.start()
                try:
                    await self.over.wait()
                finally:
                    self.over.set()
                    async with tonio.scope(shield=True):
                        for thread in helpers:
                            await tonio.spawn_blocking(thread.join)
            serving.cancel()

    def run(self) -> None:
        before = signal.signal(signal.SIGUSR1, self.on_signal)
        try:
            with tempfile.TemporaryDirectory() as folder:
                tonio.run(
                    self.program(folder),
                    threads=self.threads,
                    blocking_threadpool_size=16,
                    blocking_threadpool_idle_ttl=5,
                )
        except BaseExceptionGroup as group:
            self.problems += [f"{type(e).__name__}: {e}" for e in leaves(group)]
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
            signal.signal(signal.SIGUSR1, before)

    def report(self) -> bool:
        growths = [
            samples.growth("blocks", self.quiet.points("blocks"), 0.01, 1000, 1),
            samples.growth("rss_mb", self.samples.points("rss_mb"), 0.06, 4, 5),
            samples.growth("descriptors", self.samples.points("descriptors"), 0.2, 6, 5),
            samples.growth("threads", self.samples.points("threads"), 0.2, 6, 5),
        ]
        self.problems += [str(growth) for growth in growths if growth.is_steady]
        if self.asked != self.answered:
            self.problems.append(f"{self.asked} tasks asked for, {self.answered} have answered")
        if self.signals == 0 or self.woken == 0:
            self.problems.append(f"{self.signals} signals came, {self.woken} wake-ups by them")
        rounds = {name: sum(tally) for name, tally in self.tallies.items()}
        self.problems += [f"no round of {name}" for name, count in rounds.items() if count == 0]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.samples.write(self.folder / "samples.csv")
        self.quiet.write(self.folder / "blocks.csv")
        panels = [
            ("resident memory, MB", self.samples.points("rss_mb")),
            ("objects, at rest", self.quiet.points("blocks")),
            ("open descriptors", self.samples.points("descriptors")),
            ("threads", self.samples.points("threads")),
            ("rounds per second", samples.rate(self.samples.points("rounds"))),
        ]
        title = f"soak: {self.seconds / 60:g} minutes, {self.threads} threads"
        samples.draw(panels, title, self.folder / "soak.svg")
        summary = {
            "minutes": self.seconds / 60,
            "threads": self.threads,
            "rounds": rounds,
            "signals": self.signals,
            "tasks of other threads": self.answered,
            "growth": [asdict(growth) for growth in growths],
            "problems": self.problems,
        }
        (self.folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        print(*growths, sep="\n")
        print(f"{sum(rounds.values())} rounds; see {self.folder}")
        for problem in self.problems:
            print("PROBLEM:", problem)
        return not self.problems


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [error]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("build/soak"))
    options = parser.parse_args()
    faulthandler.enable()
    # a job may be interrupted between making a coroutine and running it
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    unraisable: list[str] = []

    def hook(report: Any) -> None:
        # the tasks of a round that was cut off go on for a while, with nobody to tell
        if not all(isinstance(error, EXPECTED) for error in leaves(report.exc_value)):
            unraisable.append(f"{report.err_msg}: {report.exc_value!r}")

    sys.unraisablehook = hook
    soak = Soak(options.minutes * 60, options.threads, options.out)
    before = (samples.descriptors(), samples.threads())
    try:
        soak.run()
    finally:
        gc.collect()
        after = (samples.descriptors(), samples.threads())
        if before != after:
            soak.problems.append(f"descriptors and threads: {before} at first, {after} are left")
        soak.problems += [f"unraisable: {text}" for text in unraisable[:20]]
        good = soak.report()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
