"""Shows which lines of src/ and of tonio/ have run: a table, and what has not.

For the C files it reads the counters of the builds of the kind `coverage` through gcov and adds
them up (a header is compiled many times). A line that the tests do not run may be run by fault
injection, or docs/coverage.md says why it is not. Whatever is left is printed, and makes this
program fail; so does an entry there whose code is no longer in the sources. All groups of lines
that the tests never ran are in build/coverage/c.txt. For the Python files coverage.py does the
same; build/coverage/python.txt.
"""

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "coverage"
TESTS = (FOLDER / "python", ROOT / "build" / "core-coverage")
FAULTS = (FOLDER / "faults",)
REASONS = ROOT / "docs" / "coverage.md"


@dataclass
class Lines:
    """The lines of one C file that hold code."""

    counts: Counter[int] = field(default_factory=Counter)  # how often each has run
    functions: dict[int, str] = field(default_factory=dict)  # in which function it is


@dataclass
class Group:
    """Lines that never ran, with none between them that did."""

    file: str
    function: str
    first: int
    last: int
    lines: list[int]
    text: str  # with the two lines before it, which say when it would run

    def __str__(self) -> str:
        span = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.file}:{span}: {self.function}"


@dataclass
class Reason:
    """An entry of docs/coverage.md: why lines of a function around this code do not run."""

    number: int  # of its line
    file: str
    function: str
    code: str
    used: bool = False

    def covers(self, group: Group) -> bool:
        where = (self.file, self.function) == (group.file, group.function)
        return where and self.code in group.text


def squeezed(text: str) -> str:
    return " ".join(text.split())


def read_counters(builds: tuple[Path, ...]) -> dict[str, Lines]:
    files: dict[str, Lines] = defaultdict(Lines)
    for build in builds:
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
                        lines = files[str(path.relative_to(ROOT))]
                        for line in file["lines"]:
                            number = line["line_number"]
                            lines.counts[number] += line["count"]
                            lines.functions[number] = line.get("function_name", "")
    return files


def group(name: str, function: str, lines: list[int], source: list[str]) -> Group:
    first, last = lines[0], lines[-1]
    before = [line for line in source[: first - 1] if line.strip()][-2:]
    text = squeezed(" ".join([*before, *source[first - 1 : last]]))
    return Group(name, function, first, last, lines, text)


def groups(name: str, counts: Counter[int], functions: dict[int, str]) -> Iterator[Group]:
    source = (ROOT / name).read_text().splitlines()
    inside: list[int] = []
    for number in sorted(counts):
        if inside and (counts[number] or functions[number] != functions[inside[0]]):
            yield group(name, functions[inside[0]], inside, source)
            inside = []
        if not counts[number]:
            inside.append(number)
    if inside:
        yield group(name, functions[inside[0]], inside, source)


def read_reasons() -> list[Reason]:
    """The entries: lines `    FILE FUNCTION: CODE`."""
    pattern = re.compile(r" {4}(src/\S+\.[ch]) (\w+): (.+)")
    return [
        Reason(number, found[1], found[2], squeezed(found[3]))
        for number, line in enumerate(REASONS.read_text().splitlines(), 1)
        if (found := pattern.fullmatch(line.rstrip()))
    ]


def table(rows: list[tuple[str, int, int, int, int]]) -> None:
    width = max(len(row[0]) for row in rows)
    print(f"{'':<{width}}   lines   tests  faults explained unexplained")
    for name, lines, tests, faults, explained in rows:
        left = lines - tests - faults - explained
        print(f"{name:<{width}} {lines:7} {tests:7} {faults:7} {explained:9} {left:11}")


def report_c() -> bool:
    """Is every line that never ran explained?"""
    tests, faults = read_counters(TESTS), read_counters(FAULTS)
    reasons = read_reasons()
    rows, missed, unexplained = [], [], []
    for name, lines in sorted(tests.items()):
        counts, functions = lines.counts, lines.functions
        missed += list(groups(name, counts, functions))
        by_faults = {n for n, count in counts.items() if not count and faults[name].counts[n]}
        counts_of_both = Counter({n: count or n in by_faults for n, count in counts.items()})
        explained = 0
        for missing in groups(name, counts_of_both, functions):
            found = [reason for reason in reasons if reason.covers(missing)]
            for reason in found:
                reason.used = True
            if found:
                explained += len(missing.lines)
            else:
                unexplained.append(missing)
        ran = sum(count > 0 for count in counts.values())
        rows.append((name, len(counts), ran, len(by_faults), explained))
    total = [sum(row[column] for row in rows) for column in range(1, 5)]
    rows.append(("src/ in total", total[0], total[1], total[2], total[3]))
    table(rows)
    (FOLDER / "c.txt").write_text("".join(f"{one}: {one.text}\n" for one in missed))

    texts = {name: squeezed((ROOT / name).read_text()) for name in tests}
    lost = [reason for reason in reasons if reason.code not in texts.get(reason.file, "")]
    for reason in lost:
        print(f"docs/coverage.md:{reason.number}: there is no such code: {reason.code}")
    for reason in reasons:
        if not reason.used and reason not in lost:
            print(f"docs/coverage.md:{reason.number}: it ran this time: {reason.code}")
    for missing in unexplained:
        print(f"{missing} never ran, and docs/coverage.md does not say why: {missing.text}")
    return not lost and not unexplained


def report_python() -> None:
    coverage = [sys.executable, "-m", "coverage"]
    if any((FOLDER / "python-data").glob("data.*")):  # not combined by an earlier look yet
        subprocess.run([*coverage, "combine", "--quiet"], cwd=ROOT, check=True)
    shown = ["report", "--show-missing", "--skip-empty"]
    text = subprocess.run(
        [*coverage, *shown], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    (FOLDER / "python.txt").write_text(text)
    print(text)


def main() -> int:
    passed = report_c()
    print()
    report_python()
    print(f"what the tests did not run: {FOLDER}/c.txt, {FOLDER}/python.txt")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
