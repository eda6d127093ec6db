"""The document that is made from a file of results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.model import Contender, Suite, is_ours
from harness.report import Table, number, tables
from harness.results import Results, Spread
from targets import BAD, GOOD, targets_table

CLEARLY = 1.02
"""A peer that is better by less is level."""

METRICS = {
    "total_seconds": "seconds in all",
    "cpu_seconds": "CPU seconds",
    "bytes_per_task": "bytes for a task",
    "seconds_per_op": "time for each",
    "cpu_per_op": "CPU time for each",
    "total_us": "time for each",
    "timer_bytes": "bytes for each",
    "cpu_us": "CPU time for a request",
    "p50_us": "p50",
    "p99_us": "p99",
    "bytes": "bytes for each",
    "cpu_percent": "% of a core",
    "late_p99_ms": "p99 of the lateness",
    "first_ms": "first run",
    "import_ms": "import",
}

METHOD = """
Each round runs every contender once, in an order that shifts from round to round; ratios are taken
within a round. A figure is the median of the rounds, a range in parentheses the least and the
greatest. Each sample is a new process. What runs on one thread is pinned to the first core, the
load generator to the last. All Python libraries run on the same interpreter, with their default
settings. `benchmarks/README.md` tells the rest, and how to repeat this.
"""

BETTER = """
Every contender that did better than the best of TonIO's on as many threads, the limits in C and the
bare loops included.
""".strip()


def headline(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def about(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "date", str(record["time"])
    yield "commit", f"`{record['commit']}`"
    memory = record["memory_bytes"] / 2**30
    yield "machine", f"{record['processor']}, {record['cores']} cores, {memory:.0f} GiB"
    yield "system", record["system"]
    yield "Python", headline(record["python"])
    yield "compiler", record["compiler"]
    yield "load before the run", f"{record['load_average']:.2f}"
    settings = record["settings"]
    rounds, minor = settings["rounds"], settings["minor_rounds"]
    yield "length", f"{settings['name']}: {rounds} rounds, {minor} where no target rests on it"
    peers = record["peers"]
    yield "peers", ", ".join(f"{name} {peers[name]}" for name in peers if peers[name])
    for name, problem in record["not_had"].items():
        yield f"{name} could not be had", problem


def losses(suite: Suite, results: Results) -> Iterator[tuple[str, ...]]:
    """Where a contender is better than the best of TonIO's on as many threads."""
    for case, found in results.samples.items():
        contenders = [one for one in suite.contenders(case) if one.label in found]
        for metric in suite.costs:
            medians = {
                one.label: spread
                for one in contenders
                if (spread := results.spread(case, one.label, metric))
            }
            for other in contenders:
                if is_ours(other.label) or other.label not in medians:
                    continue
                ours = best(contenders, medians, other.threads)
                theirs = medians[other.label]
                if ours and medians[ours].median > theirs.median * CLEARLY:
                    what = f"{suite.title}: {suite.case_title(case)}: {METRICS[metric]}"
                    times = medians[ours].median / (theirs.median or medians[ours].median)
                    mine = f"{number(medians[ours].median)} ({ours})"
                    factor = f"{number(times)}x" if theirs.median else "-"
                    yield what, mine, f"{number(theirs.median)} ({other.label})", factor


def best(contenders: list[Contender], medians: Mapping[str, Spread], threads: int) -> str | None:
    mine = [
        one.label
        for one in contenders
        if is_ours(one.label) and one.threads == threads and one.label in medians
    ]
    return min(mine, key=lambda label: medians[label].median, default=None)


def write(
    record: Mapping[str, Any],
    suites: list[Suite],
    measured: Mapping[str, Results],
    pictures: Mapping[str, str],
) -> str:
    """The whole document; `pictures` has the address of each suite's."""
    targets = targets_table(suites, measured)
    reached = sum(row[-1] == GOOD for row in targets.rows)
    missed = sum(row[-1] == BAD for row in targets.rows)
    lost = [row for suite in suites for row in losses(suite, measured[suite.name])]
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench-docs` from the results of one run. Do not edit: run it again.",
        "",
        "| | |",
        "| :-- | :-- |",
        *(f"| {name} | {value} |" for name, value in about(record)),
        METHOD,
        "## Targets",
        "",
        f"{reached} reached, {missed} missed, {len(targets.rows) - reached - missed} not measured.",
        "",
        targets.markdown(),
        "",
        "## Where others are better",
        "",
        BETTER,
        "",
        Table("", ("", "TonIO", "the other", ""), lost).markdown() if lost else "Nowhere.",
        "",
    ]
    for suite in suites:
        lines += [f"## {suite.title}", "", suite.text, ""]
        if suite.name in pictures:
            lines += [f"![{suite.chart.title}]({pictures[suite.name]})", ""]
        for table in tables(suite, measured[suite.name]):
            lines += [f"**{table.title}**", "", table.markdown(), ""]
    if record["missing"]:
        lines += ["## Not measured", "", *(f"- {headline(text)}" for text in record["missing"]), ""]
    return "\n".join(lines)
