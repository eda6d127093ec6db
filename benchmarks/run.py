"""Runs the benchmarks: measures the contenders in turn and prints tables, ratios and goals.

    python benchmarks/run.py [SUITE ...] [--quick | --full] [--rounds N] [--refresh-peers]

Without a suite it runs all of them. README.md beside this file tells the method.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from harness import machine, peers, processes
from harness.report import Progress, goals_table
from harness.results import Results
from harness.suites import FULL, QUICK, SUITES, Bench, Contender, Settings, Suite, is_ours

BUSY_LOAD = 0.5


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measures TonIO and its peers in turn")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of: {', '.join(SUITES)}")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="a few minutes for all (default)")
    length.add_argument("--full", action="store_true", help="more rounds and longer windows")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument(
        "--refresh-peers", action="store_true", help="install the newest peers, or try again to"
    )
    options = parser.parse_args()
    if unknown := set(options.suites) - set(SUITES):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def settings(options: argparse.Namespace) -> Settings:
    chosen = FULL if options.full else QUICK
    return dataclasses.replace(chosen, rounds=options.rounds or chosen.rounds)


def prepare(options: argparse.Namespace) -> Bench:
    """Compiles the programs in C and sets the peers up; tells what could not be had."""
    c_programs = processes.build_c_programs()
    found = peers.set_up(refresh=options.refresh_peers, say=print)
    for peer in found.values():
        print(f"  {peer.name:8} {peer.version or f'could not be had: {peer.problem}'}")
    measured_core, load_core = machine.cores()
    if measured_core == load_core:
        print("  only one core: the load runs beside what is measured, latencies mean little")
    return Bench(found, c_programs, measured_core, load_core, settings(options))


def measure(suite: Suite, results: Results, progress: Progress) -> None:
    """Takes all samples of a suite."""
    for number in range(suite.rounds()):
        for case in suite.cases():
            contenders = [one for one in suite.contenders(case) if suite.bench.has(one)]
            # Nobody always runs first, or always after the same one.
            shift = number % len(contenders)
            where = f"{suite.name}, round {number + 1} of {suite.rounds()}, {case}"
            for contender in contenders[shift:] + contenders[:shift]:
                progress.step(where, contender.label)
                results.add(case, contender.label, sample(suite, case, contender, results))


def sample(
    suite: Suite, case: str, contender: Contender, results: Results
) -> dict[str, float] | None:
    """One measurement, or None and a note in the results. What failed once is not tried again."""
    key = (case, contender.label)
    if key in results.failed or key in results.skipped:
        return None
    try:
        measured = suite.measure(case, contender)
    except processes.MeasurementError as error:
        results.failed[key] = str(error)
        return None
    if "skipped" in measured:
        results.skipped[key] = measured["skipped"]
        return None
    return measured


def in_table_order(suite: Suite, results: Results) -> None:
    """Undoes the shifts: contenders appear as the suite lists them."""
    for case, found in results.samples.items():
        labels = [contender.label for contender in suite.contenders(case)]
        results.samples[case] = {label: found[label] for label in labels if label in found}


def missing(measured: dict[str, Results]) -> list[str]:
    """Why figures are not there, each reason once."""
    texts = []
    for name, results in measured.items():
        texts += [f"{name}, {case}: skipped: {why}" for (case, _), why in results.skipped.items()]
        texts += [f"{name}, {case}: {who}: {why}" for (case, who), why in results.failed.items()]
    return list(dict.fromkeys(texts))


def write(bench: Bench, about: dict[str, Any], measured: dict[str, Results]) -> Path:
    machine.RESULTS.mkdir(exist_ok=True)
    file = machine.RESULTS / f"{time.strftime('%Y-%m-%d-%H%M%S')}-{about['commit']}.json"
    everything: dict[str, Any] = {
        **about,
        "settings": dataclasses.asdict(bench.settings),
        "peers": {peer.name: peer.version or peer.problem for peer in bench.peers.values()},
        "suites": {name: results.samples for name, results in measured.items()},
        "missing": missing(measured),
    }
    file.write_text(json.dumps(everything, indent=1) + "\n")
    return file


def show(suites: list[Suite], measured: dict[str, Results]) -> None:
    for suite in suites:
        results = measured[suite.name]
        in_table_order(suite, results)
        suite.derive(results)
        for table in suite.tables(results):
            print(f"\n\n{table}")
    goals = [(goal, measured[suite.name]) for suite in suites for goal in suite.goals()]
    if goals:
        print(f"\n\n{goals_table(goals)}\n")
    for text in missing(measured):
        print(text)


def main() -> int:
    options = parse()
    about = machine.describe()
    print(
        f"TonIO {about['commit']}, {about['processor']}, {about['cores']} cores, {about['system']}"
    )
    print(f"Python {about['python']}")
    bench = prepare(options)
    if about["build"].get("checks") or about["build"].get("buildtype") == "debug":
        print("  this is a debug build, its figures say nothing: run `make release` first")
    if about["load_average"] > BUSY_LOAD:
        print(f"  the machine is busy (load average {about['load_average']:.1f}): times will vary")

    suites = [SUITES[name](bench) for name in dict.fromkeys(options.suites or SUITES)]
    measured = {suite.name: Results() for suite in suites}
    progress = Progress(
        sum(
            suite.rounds() * sum(map(bench.has, suite.contenders(case)))
            for suite in suites
            for case in suite.cases()
        )
    )
    interrupted = False
    try:
        for suite in suites:
            measure(suite, measured[suite.name], progress)
    except KeyboardInterrupt:
        interrupted = True
        progress.say("interrupted: this is what was measured so far")
    progress.end()
    show(suites, measured)
    file = write(bench, about, measured)
    print(f"\nall samples: {file.relative_to(machine.ROOT)}")
    if interrupted:
        return 130
    failed = [label for results in measured.values() for _, label in results.failed]
    return int(bool(bench.peers["project"].problem) or any(map(is_ours, failed)))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
