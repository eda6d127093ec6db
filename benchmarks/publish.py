"""Makes docs/benchmarks.md and its pictures from a file of results (the newest if none is named).

python benchmarks/publish.py [RESULTS] [--folder docs]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from harness import machine
from harness.charts import draw
from harness.document import write
from harness.model import Settings
from harness.results import Results
from suites import SUITES


def newest() -> Path:
    found = sorted(machine.RESULTS.glob("*.json"))
    if not found:
        raise SystemExit("there are no results: run `make bench` or `make bench-full` first")
    return found[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description="makes the document of the benchmarks")
    parser.add_argument("results", nargs="?", type=Path, help="default: the newest")
    parser.add_argument("--folder", type=Path, default=machine.ROOT / "docs")
    options = parser.parse_args()
    source = options.results or newest()
    record: dict[str, Any] = json.loads(source.read_text())
    if "base" in record["peers"]:
        raise SystemExit(f"{source} compares two commits, it is no run of the benchmarks")
    settings = Settings(**record["settings"])
    suites = [SUITES[name](settings) for name in record["suites"]]
    measured = {name: Results(samples) for name, samples in record["suites"].items()}
    folder = options.folder / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {}
    for suite in suites:
        if svg := draw(suite, measured[suite.name]):
            (folder / f"{suite.name}.svg").write_text(svg)
            pictures[suite.name] = f"benchmarks/{suite.name}.svg"
    document = options.folder / "benchmarks.md"
    document.write_text(write(record, suites, measured, pictures))
    print(f"{document}, {len(pictures)} pictures, from {source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
