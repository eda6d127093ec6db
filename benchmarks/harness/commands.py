"""What the commands that measure have in common: options, preparation, the file of results."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from harness import machine, peers, processes
from harness.measuring import missing
from harness.model import SETTINGS, Bench, Settings, Suite
from harness.results import Results
from suites import SUITES

BUSY_LOAD = 0.5


def parser(description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description)
    made.add_argument("suites", nargs="*", metavar="SUITE", help=f"of: {', '.join(SUITES)}")
    length = made.add_mutually_exclusive_group()
    for name, text in (
        ("quick", "twenty minutes for all (default)"),
        ("full", "more rounds, longer windows, a million timers"),
        ("smoke", "only whether everything runs; the figures say nothing"),
    ):
        length.add_argument(
            f"--{name}", dest="length", action="store_const", const=name, default="quick", help=text
        )
    made.add_argument("--rounds", type=int, help="how often everything is measured")
    return made


@dataclasses.dataclass
class Run:
    """A run that is prepared: what is measured, with what, and what is noted beside it."""

    bench: Bench
    settings: Settings
    about: dict[str, Any]
    suites: list[Suite]
    not_possible: list[str]

    def write(self, measured: dict[str, Results], file: Path | None) -> Path:
        if file is None:
            machine.RESULTS.mkdir(exist_ok=True)
            stamp = time.strftime("%Y-%m-%d-%H%M%S")
            file = machine.RESULTS / f"{stamp}-{self.about['commit']}.json"
        everything: dict[str, Any] = {
            **self.about,
            "settings": dataclasses.asdict(self.settings),
            "peers": {peer.name: peer.version for peer in self.bench.peers.values()},
            "not_had": {
                peer.name: peer.problem for peer in self.bench.peers.values() if peer.problem
            },
            "missing": [*self.not_possible, *missing(measured)],
            "suites": {name: results.samples for name, results in measured.items()},
        }
        file.write_text(json.dumps(everything) + "\n")
        return file


def settings(options: argparse.Namespace) -> Settings:
    chosen = SETTINGS[options.length]
    if options.rounds is None:
        return chosen
    return dataclasses.replace(chosen, rounds=options.rounds, minor_rounds=options.rounds)


def prepare(options: argparse.Namespace, *, peers: bool, refresh: bool = False) -> Run:
    """Checks the options, compiles the programs in C, sets the peers up; tells what it found."""
    if unknown := set(options.suites) - set(SUITES):
        raise SystemExit(f"no such suite: {', '.join(sorted(unknown))}; of: {', '.join(SUITES)}")
    if options.rounds is not None and options.rounds < 1:
        raise SystemExit("--rounds must be at least 1")
    about = machine.describe()
    print(f"TonIO {about['commit']}, {about['processor']}, {about['cores']} cores")
    print(f"{about['system']}; Python {about['python']}; {about['compiler']}")
    bench = Bench(_peers(peers, refresh), processes.build_c_programs(), machine.cores())
    for peer in bench.peers.values():
        print(f"  {peer.name:8} {peer.version or f'could not be had: {peer.problem}'}")
    if len(bench.cores) == 1:
        print("  only one core: the load runs beside what is measured, latencies mean little")
    if about["build"].get("checks") or about["build"].get("buildtype") == "debug":
        print("  this is a debug build, its figures say nothing: run `make release` first")
    if about["load_average"] > BUSY_LOAD:
        print(f"  the machine is busy (load average {about['load_average']:.1f}): times will vary")
    chosen = settings(options)
    wanted = [SUITES[name](chosen) for name in dict.fromkeys(options.suites or SUITES)]
    reasons = {suite.name: suite.why_not(bench) for suite in wanted}
    return Run(
        bench,
        chosen,
        about,
        [suite for suite in wanted if not reasons[suite.name]],
        [f"{name}: not measured: {reason}" for name, reason in reasons.items() if reason],
    )


def _peers(wanted: bool, refresh: bool) -> dict[str, peers.Peer]:
    found = peers.at_home()
    return found | peers.set_up(refresh=refresh, say=print) if wanted else found
