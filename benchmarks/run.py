"""Runs the benchmarks: measures the contenders in turn and prints tables, ratios and targets.

    python benchmarks/run.py [SUITE ...] [--quick | --full | --smoke] [--rounds N]
                             [--without-peers | --refresh-peers]

Without a suite it runs all of them. README.md beside this file tells the method.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness import commands
from harness.measuring import available, measure_all, missing
from harness.model import is_ours
from harness.report import tables
from harness.results import Results
from targets import targets_table


def main() -> int:
    parser = commands.parser("measures TonIO and its peers in turn")
    peers = parser.add_mutually_exclusive_group()
    peers.add_argument(
        "--without-peers", action="store_true", help="only what needs no installation"
    )
    peers.add_argument(
        "--refresh-peers", action="store_true", help="install the newest peers, or try again to"
    )
    parser.add_argument("--output", type=Path, help="the file for all samples")
    options = parser.parse_args()
    run = commands.prepare(options, peers=not options.without_peers, refresh=options.refresh_peers)
    measured, complete = measure_all(run.bench, run.suites, available(run.bench))
    for suite in run.suites:
        for table in tables(suite, measured[suite.name]):
            print(f"\n\n{table}")
    if (targets := targets_table(run.suites, measured)).rows:
        print(f"\n\n{targets}\n")
    for text in [*run.not_possible, *missing(measured)]:
        print(text)
    print(f"\nall samples: {run.write(measured, options.output)}")
    return status(run, measured, complete=complete)


def status(run: commands.Run, measured: dict[str, Results], *, complete: bool) -> int:
    """Whether TonIO's own programs ran, not whether targets are reached."""
    if not complete:
        return 130
    failed = [label for results in measured.values() for _, label in results.failed]
    return int(bool(run.bench.peers["project"].problem) or any(map(is_ours, failed)))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
