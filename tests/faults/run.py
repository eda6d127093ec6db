"""Fault injection: every call that the extension makes and that may fail does so, once each.

    python tests/faults/run.py            # every call of every scenario, in every way
    python tests/faults/run.py --short    # a sample for a minute: every place first
    python tests/faults/run.py --scenario locks --notation yield --threads 2 --call 57 --variant 0

The extension must be built with -Dfaults=true in build/faults: `make test-faults` does both. A
scenario (scenarios.py) first runs without faults, to see which calls it makes; then once for each
of them and each way in which it can fail, in a process of its own, and with faults by chance. What
must be true afterwards is in case.py. Everything that fails is printed with the command that
repeats it; with two threads the calls are not the same each time, so repeat it with --repeat.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import re
import select
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from case import LIMIT, SCENARIO_FILES, Case, attach, load_scenarios, use_extension
from shared import LOG, Extension, describe, new_faults, online

NOTATIONS = ("await", "yield")
THREADS = (1, 2)
IMPORT = "importing"  # the scenario that imports the package
CHANCE_RUNS = 40  # runs with faults by chance, for each scenario, notation and number of threads
SHORT_SECONDS = 45.0
MOST_FAILURES = 5  # of one combination, until it is given up


@dataclass(frozen=True)
class Combination:
    scenario: str
    notation: str
    threads: int


@dataclass(frozen=True)
class Schedule:
    call: int = 0  # the one that fails
    variant: int = 0
    one_in: int = 0  # or by chance
    seed: int = 0


@dataclass
class Result:
    problems: list[str]
    fired: list[str]
    count: int
    report: str = ""  # of a crash or a hang


def scenario_names() -> list[str]:
    texts = [Path(__file__).with_name(f"{name}.py").read_text() for name in SCENARIO_FILES]
    found = re.findall(
        r"^@(?:scenario|plain)\(.*\)\n(?:async )?def (\w+)", "\n".join(texts), re.MULTILINE
    )
    return [IMPORT, *found]


def command_line(combination: Combination, schedule: Schedule) -> str:
    parts = [".venv/bin/python", "tests/faults/run.py", "--scenario", combination.scenario]
    parts += ["--notation", combination.notation, "--threads", str(combination.threads)]
    for name, value in asdict(schedule).items():
        if value:
            parts += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(parts)


# --- one case ---------------------------------------------------------------------------------


def import_package() -> list[str]:
    """What imports the package while calls fail: it works, or says that there was no memory."""
    try:
        import tonio  # noqa: F401
    except MemoryError:
        return []
    except BaseException as error:
        return [f"importing raised {error!r}"]
    return []


def in_process(
    faults: Any, extension: Extension, schedule: Schedule, work: Callable[[], Any]
) -> Result:
    """Does the work in a process of its own, with these faults."""
    faults.armed = faults.count = faults.fired = 0
    faults.fail_at, faults.variant = schedule.call, schedule.variant
    faults.one_in, faults.seed = schedule.one_in, schedule.seed
    out, err = os.memfd_create("out"), os.memfd_create("err")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(err, 2)
            faulthandler.enable(err)
            problems = work()
            os.pwrite(out, json.dumps(problems).encode(), 0)
            extension.write_coverage()
            status = 0
        finally:
            os._exit(status)
    ended = os.pidfd_open(child)
    try:
        hangs = not select.select([ended], [], [], LIMIT)[0]
        if hangs:
            os.kill(child, signal.SIGABRT)  # all stacks go to standard error
            if not select.select([ended], [], [], 5)[0]:
                os.kill(child, signal.SIGKILL)
    finally:
        os.close(ended)
    _, status = os.waitpid(child, 0)
    said = os.pread(out, 1 << 20, 0).decode()
    report = os.pread(err, 1 << 20, 0).decode(errors="replace")
    os.close(out)
    os.close(err)
    code = os.waitstatus_to_exitcode(status)
    problems = json.loads(said) if said and code == 0 else []
    if code != 0:
        problems.append("it hangs" if hangs else f"the process ended with status {code}")
    if report and not problems:
        problems.append("it wrote to standard error")
    fired = (
        [describe(extension, faults.first[i]) for i in range(min(faults.fired, 16))]
        if problems
        else []
    )
    return Result(problems, fired, faults.count, report if problems else "")


class Runner:
    """Runs the cases of one combination."""

    def __init__(self, combination: Combination) -> None:
        self.combination = combination
        self.extension = Extension()
        self.faults = new_faults()
        attach(self.extension, self.faults)
        if combination.scenario != IMPORT:
            self.case = self._prepare()

    def _prepare(self) -> Case:
        use_extension()
        module = load_scenarios(self.combination.notation)
        case = Case(self.extension, self.faults, module, self.combination.scenario)
        case.warm_up(self.combination.threads)
        return case

    def run(self, schedule: Schedule) -> Result:
        def work() -> list[str]:
            if self.combination.scenario == IMPORT:
                use_extension()
                self.faults.armed = 1
                problems = import_package()
                self.faults.armed = 0
                return problems
            return self.case.run(self.combination.threads)

        return in_process(self.faults, self.extension, schedule, work)

    def calls(self) -> Iterator[tuple[int, int, int]]:
        """Number, symbol and place of each call of a run without faults."""
        result = self.run(Schedule())
        if result.problems:
            raise RuntimeError("\n".join([*result.problems, result.report]))
        for i in range(min(result.count, LOG)):
            yield i + 1, self.faults.log[i].symbol, self.faults.log[i].caller

    def schedules(self, calls: list[tuple[int, int, int]]) -> Iterator[Schedule]:
        for number, symbol, _ in calls:
            for variant in range(len(self.extension.variants[symbol])):
                yield Schedule(number, variant)

    def chances(self, seed: int, runs: int) -> Iterator[Schedule]:
        for i in range(runs):
            yield Schedule(one_in=(10, 30, 100, 300)[i % 4], seed=seed * 1000 + i)


# --- all of them ------------------------------------------------------------------------------


def report_failure(combination: Combination, schedule: Schedule, result: Result) -> str:
    lines = [f"FAILED {command_line(combination, schedule)}"]
    lines += [f"    {fired}" for fired in result.fired]
    for problem in result.problems:
        lines += [f"    | {line}" for line in problem.splitlines()]
    lines += [f"    : {line}" for line in result.report.splitlines()[-60:]]
    return "\n".join(lines)


def run_combination(
    combination: Combination, options: argparse.Namespace, say: Callable[[str], None]
) -> int:
    """Every call, in every way. The number of failures."""
    runner = Runner(combination)
    calls = list(runner.calls())
    failures = cases = 0
    start = time.monotonic()
    seen: set[str] = set()
    for schedule in (*runner.schedules(calls), *runner.chances(options.seed, CHANCE_RUNS)):
        result = runner.run(schedule)
        cases += 1
        if result.problems:
            failures += 1
            # one report for each place and way is enough
            key = str([re.sub(r"call \d+", "", fired) for fired in result.fired])
            if key not in seen and len(seen) < MOST_FAILURES * 4:
                seen.add(key)
                say(report_failure(combination, schedule, result))
    say(
        f"{combination.scenario} ({combination.notation}, {combination.threads}): "
        f"{len(calls)} calls, {cases} cases, {failures} failed, {time.monotonic() - start:.0f} s"
    )
    return failures


def run_short(
    combinations: list[Combination], options: argparse.Namespace, say: Callable[[str], None]
) -> int:
    """A sample: each place in each way once, then whatever chance brings, until the time is up."""
    end = time.monotonic() + SHORT_SECONDS
    chance = random.Random(options.seed)
    failures = cases = 0
    done: set[tuple[int, ...]] = set()
    for number, combination in enumerate(combinations):
        mine = time.monotonic() + max(0.0, end - time.monotonic()) / (len(combinations) - number)
        runner = Runner(combination)
        calls = list(runner.calls())
        sample: list[tuple[Schedule, tuple[int, ...]]] = [
            (Schedule(call, variant), (symbol, caller, variant))
            for call, symbol, caller in calls
            for variant in range(len(runner.extension.variants[symbol]))
        ]
        chance.shuffle(sample)
        sample.sort(key=lambda one: one[1] in done)
        sample[:0] = [(schedule, ()) for schedule in runner.chances(chance.randrange(10**6), 2)]
        for schedule, key in sample:
            if time.monotonic() > mine:
                break
            if key in done and chance.random() > 0.2:
                continue
            done.add(key)
            result = runner.run(schedule)
            cases += 1
            if result.problems:
                failures += 1
                say(report_failure(combination, schedule, result))
    say(f"{len(done)} ways to fail at places, {cases} cases, {failures} failed")
    return failures


def fork_job(work: Callable[[], int]) -> int:
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = min(work(), 1)
        except BaseException as error:
            print(f"the driver failed: {error}", flush=True)
        finally:
            os._exit(status)
    return child


def wait_jobs(children: list[int]) -> int:
    return sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children)


def run_full(
    combinations: list[Combination], options: argparse.Namespace, say: Callable[[str], None]
) -> int:
    """All cases; as many combinations at a time as there are jobs. The number that failed."""
    left = list(combinations)
    running: set[int] = set()
    failed = 0
    while left or running:
        while left and len(running) < options.jobs:
            combination = left.pop(0)
            running.add(fork_job(lambda c=combination: run_combination(c, options, say)))
        child, status = os.wait()
        running.discard(child)
        failed += os.waitstatus_to_exitcode(status) != 0
    return failed


def run_one(
    combination: Combination, options: argparse.Namespace, say: Callable[[str], None]
) -> int:
    """One schedule, as the command line says, as often as it says."""
    runner = Runner(combination)
    schedule = Schedule(options.call, options.variant, options.one_in, options.seed)
    failures = 0
    for _ in range(options.repeat):
        result = runner.run(schedule)
        if result.problems:
            failures += 1
            say(report_failure(combination, schedule, result))
    fired = [
        describe(runner.extension, runner.faults.first[i])
        for i in range(min(runner.faults.fired, 16))
    ]
    say(
        f"{options.repeat} runs, {failures} failed; "
        f"the last had {result.count} calls; faults: {fired}"
    )
    return failures


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Makes calls of the extension fail, one after the other."
    )
    add = parser.add_argument
    add("--short", action="store_true", help="a sample that takes less than a minute")
    add("--scenario", action="append", choices=scenario_names(), help="only this one (or these)")
    add("--notation", choices=NOTATIONS)
    add("--threads", type=int)
    add("--jobs", type=int, default=online(), help="processes at a time")
    add("--seed", type=int, default=None, help="of the sample, or of faults by chance")
    add("--call", type=int, default=0, help="only the case in which this call fails")
    add("--variant", type=int, default=0, help="the way in which it fails")
    add("--one-in", type=int, default=0, help="only the case in which one call of so many fails")
    add("--repeat", type=int, default=1, help="how often, with --call or --one-in")
    options = parser.parse_args()
    options.seed = (
        random.randrange(10**6) if options.seed is None and options.short else options.seed or 0
    )
    return options


def main() -> int:
    options = parse_arguments()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    combinations = [
        Combination(scenario, notation, threads)
        for scenario in options.scenario or scenario_names()
        for notation in ([options.notation] if options.notation else NOTATIONS)
        for threads in ([options.threads] if options.threads else THREADS)
        if scenario != IMPORT or (notation, threads) == (NOTATIONS[0], THREADS[0])
    ]
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - start:6.1f} s] {text}", flush=True)

    if options.call or options.one_in:
        return min(1, run_one(combinations[0], options, say))
    if not options.short:
        failed = run_full(combinations, options, say)
    else:
        say(f"a sample with --seed {options.seed}")
        chance = random.Random(options.seed)
        chance.shuffle(combinations)
        combinations = list({one.scenario: one for one in combinations}.values())  # one of each
        combinations.sort(key=lambda one: one.scenario != IMPORT)  # not yet imported by another
        slices = [combinations[i :: options.jobs] for i in range(options.jobs)]
        failed = wait_jobs([fork_job(lambda s=s: run_short(s, options, say)) for s in slices])
    say("FAILED" if failed else f"all passed: {len(combinations)} combinations")
    return min(1, failed)


if __name__ == "__main__":
    sys.exit(main())
