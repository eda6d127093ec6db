"""Runs hostile programs, several at a time, and writes a line of JSON about each when it has ended.

    python tests/hostile/run.py [PATTERN ...] [--repeat N] [--jobs N] [--json]

Without --json only what goes wrong is shown, and a summary.
"""

import argparse
import fnmatch
import json
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).parent.parent))

import corpus
from program import Hostile


def one(program: Hostile, notation: str) -> tuple[str | None, float]:
    begun = monotonic()
    problem = program.run(notation)
    return problem, monotonic() - begun


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = [
        (name, *variant)
        for name, variant in corpus.VARIANTS.items()
        if any(fnmatch.fnmatch(name, pattern) for pattern in options.patterns)
    ] * options.repeat
    failed = 0
    times: list[tuple[float, str]] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(one, program, n): name for name, program, n in chosen}
        for future in as_completed(running):
            problem, seconds = future.result()
            name = running[future]
            times.append((seconds, name))
            failed += problem is not None
            if options.json:
                print(json.dumps([name, problem]), flush=True)
            elif problem is not None:
                print(f"==== {name} ({seconds:.1f} s): {problem}", flush=True)
    if not options.json:
        slowest = ", ".join(f"{name} {seconds:.1f} s" for seconds, name in sorted(times)[:-6:-1])
        print(f"{len(chosen)} programs, {failed} failed; slowest: {slowest}")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
