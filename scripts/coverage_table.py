"""Shows which lines of src/ and of tonio/ the tests have run: a table, and what they have not.

For the C files it reads the counters of the builds of the kind `coverage` through gcov, adds them
up (a header is compiled many times), and writes build/coverage/c.txt: each group of lines that
never ran. For the Python files coverage.py does the same; build/coverage/python.txt.
"""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "coverage"
BUILDS = (FOLDER / "python", ROOT / "build" / "core-coverage")


def count_c_lines() -> dict[Path, Counter[int]]:
    """How often each line that holds code has run, by file."""
    counts: dict[Path, Counter[int]] = defaultdict(Counter)
    for build in BUILDS:
        # All notes, not all counters: a file of which nothing ran counts, too.
        for notes in sorted(build.rglob("*.gcno")):
            finished = subprocess.run(
                ["gcov", "--json-format", "--stdout", notes],
                cwd=build,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            for text in finished.stdout.splitlines():
                for file in json.loads(text)["files"]:
                    path = (build / file["file"]).resolve()
                    if path.is_relative_to(ROOT / "src"):
                        for line in file["lines"]:
                            counts[path][line["line_number"]] += line["count"]
    return counts


def groups(lines: Counter[int]) -> Iterator[tuple[int, int]]:
    """First and last line of each group that never ran; lines without code do not part one."""
    first = last = None
    for number in sorted(lines):
        if lines[number] == 0:
            first, last = first or number, number
        elif first is not None and last is not None:
            yield first, last
            first = last = None
    if first is not None and last is not None:
        yield first, last


def table(rows: list[tuple[str, int, int]]) -> None:
    width = max(len(name) for name, _, _ in rows)
    for name, covered, lines in rows:
        share = 100 * covered / lines if lines else 100.0
        print(f"{name:<{width}} {lines:6} lines {lines - covered:5} not run {share:6.1f} %")


def report_c() -> None:
    rows = []
    missed = []
    for path, lines in sorted(count_c_lines().items()):
        name = str(path.relative_to(ROOT))
        rows.append((name, sum(count > 0 for count in lines.values()), len(lines)))
        source = path.read_text().splitlines()
        for first, last in groups(lines):
            span = f"{first}" if first == last else f"{first}-{last}"
            missed.append(f"{name}:{span}: {source[first - 1].strip()}")
    rows.append(("src/ in total", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    table(rows)
    (FOLDER / "c.txt").write_text("\n".join([*missed, ""]))


def report_python() -> None:
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "combine", "--keep", "--quiet"], cwd=ROOT, check=True)
    shown = ["report", "--show-missing", "--skip-empty"]
    text = subprocess.run(
        [*coverage, *shown], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    (FOLDER / "python.txt").write_text(text)
    print(text)


report_c()
print()
report_python()
print(f"what did not run: {FOLDER}/c.txt, {FOLDER}/python.txt")
