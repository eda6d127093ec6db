"""Compares the work tree with another commit, and prints what became slower beyond its spread.

    python benchmarks/compare.py BASE [SUITE ...] [--quick | --full | --smoke] [--rounds N] [--all]

BASE is built in a git worktree under build/. Both run the programs of the work tree, in turn. As a
verdict needs that all rounds agree, there are at least seven.
"""

from __future__ import annotations

import dataclasses
import sys

from harness import base, commands
from harness.comparing import FASTER, SLOWER, changes, changes_table, pairs
from harness.measuring import measure_all, missing

ROUNDS = 7


def main() -> int:
    parser = commands.parser("compares the work tree with another commit")
    # The first of the words; argparse would take it for a suite.
    parser.usage = "%(prog)s BASE [SUITE ...] [options]"
    parser.add_argument("--all", action="store_true", help="also print what did not change")
    options = parser.parse_args()
    if not options.suites:
        parser.error("the commit to compare with is missing")
    name, *options.suites = options.suites
    base.commit_of(name)
    if options.rounds is None and options.length != "smoke":
        options.rounds = ROUNDS
    run = commands.prepare(options, peers=False)
    other = base.build(name, say=print)
    bench = dataclasses.replace(run.bench, peers={**run.bench.peers, base.NAME: other})
    run = dataclasses.replace(run, bench=bench)
    print(f"  compared with {other.version}")
    measured, complete = measure_all(bench, run.suites, pairs(bench))
    found = [change for suite in run.suites for change in changes(suite, measured[suite.name])]
    by_verdict = {
        verdict: [change for change in found if change.verdict() == verdict]
        for verdict in (SLOWER, FASTER)
    }
    if options.all:
        print(f"\n\n{changes_table(found, 'Everything')}")
    for verdict, some in by_verdict.items():
        if some:
            print(f"\n\n{changes_table(some, f'{verdict.capitalize()} than {other.version}')}")
    print(
        f"\n{len(found)} figures compared: {len(by_verdict[SLOWER])} slower, "
        f"{len(by_verdict[FASTER])} faster, the others within their spread"
    )
    for text in [*run.not_possible, *missing(measured)]:
        print(text)
    print(f"all samples: {run.write(measured, None)}")
    return 0 if complete else 130


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
