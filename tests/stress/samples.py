"""Samples of a process over time: taking them, judging them, drawing them."""

from __future__ import annotations

import csv
import math
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

PAGE = os.sysconf("SC_PAGE_SIZE")

Points = Sequence[tuple[float, float]]


class Track:
    """Numbers over time, kept in such a way that taking more of them makes no objects."""

    def __init__(self, *names: str) -> None:
        self.columns = {name: array("d") for name in ("seconds", *names)}

    def add(self, *values: float) -> None:
        for column, value in zip(self.columns.values(), values, strict=True):
            column.append(value)

    def points(self, name: str) -> Points:
        return list(zip(self.columns["seconds"], self.columns[name], strict=True))

    def write(self, path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows(zip(*self.columns.values(), strict=True))


def memory() -> float:
    """Resident, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) - 1  # without that of this listing


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


# --- judging ----------------------------------------------------------------------------------


def fit(points: Points) -> tuple[float, float]:
    """The slope of the line of least squares, and its standard error."""
    middle_x, middle_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    slope = sum((x - middle_x) * (y - middle_y) for x, y in points) / spread
    rest = sum((y - middle_y - slope * (x - middle_x)) ** 2 for x, y in points)
    return slope, math.sqrt(rest / max(1, len(points) - 2) / spread)


@dataclass(frozen=True, slots=True)
class Growth:
    """How something has grown over the second half of the time."""

    what: str
    grown: float
    allowed: float
    certain: bool  # far more than the noise

    @property
    def is_steady(self) -> bool:
        return self.certain and self.grown > self.allowed

    def __str__(self) -> str:
        verdict = "GROWS" if self.is_steady else "steady"
        grown = f"{self.grown:+.2f} in the second half, {self.allowed:.2f} allowed"
        return f"{self.what}: {verdict} ({grown})"


def growth(what: str, points: Points, share: float, least: float, group: int) -> Growth:
    """`share` of the mean may be gained, and at least `least`.

    What counts is the lower edge: the least of every `group`, at which little is under way.
    """
    half = points[len(points) // 2 :]
    groups = [half[n : n + group] for n in range(0, len(half), group)]
    edge = [(fmean(x for x, _ in g), min(y for _, y in g)) for g in groups]
    if len(edge) < 4:
        return Growth(what, 0.0, least, False)
    slope, error = fit(edge)
    grown = slope * (edge[-1][0] - edge[0][0])
    allowed = max(least, share * fmean(y for _, y in edge))
    return Growth(what, grown, allowed, slope > 3 * error)


# --- drawing ----------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, TOP = 760, 120, 70, 40
STYLE = """
    svg { font: 12px sans-serif; --ink: #222; --line: #0b62c4; --grid: #ddd; --paper: #fff }
    @media (prefers-color-scheme: dark) {
        svg { --ink: #ddd; --line: #6db3ff; --grid: #444; --paper: #1b1b1b }
    }
    .paper { fill: var(--paper) } text { fill: var(--ink) } .grid { stroke: var(--grid) }
    .line { fill: none; stroke: var(--line); stroke-width: 1.2 }
"""


def panel(title: str, points: Points, number: int) -> str:
    end = max(points[-1][0], 1.0)
    most = max(max(y for _, y in points) * 1.1, 1e-9)
    below = TOP + HEIGHT + number * (HEIGHT + 50)
    parts = [f'<text x="{LEFT}" y="{below - HEIGHT - 8}">{title}</text>']
    for share in (0.0, 0.5, 1.0):
        y = below - share * HEIGHT
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}h{WIDTH}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * share:.4g}')
        parts.append("</text>")
        x = LEFT + share * WIDTH
        parts.append(f'<text x="{x:.1f}" y="{below + 15}" text-anchor="middle">')
        parts.append(f"{end * share:.0f} s</text>")
    track = " ".join(
        f"{LEFT + x / end * WIDTH:.1f},{below - y / most * HEIGHT:.1f}" for x, y in points
    )
    parts.append(f'<polyline class="line" points="{track}"/>')
    return "".join(parts)


def rate(points: Points) -> Points:
    return [(b[0], (b[1] - a[1]) / max(1e-9, b[0] - a[0])) for a, b in pairwise(points)]


def draw(panels: Sequence[tuple[str, Points]], title: str, path: Path) -> None:
    height = TOP + len(panels) * (HEIGHT + 50)
    drawn = "\n".join(panel(name, points, n) for n, (name, points) in enumerate(panels) if points)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 30} {height}">'
        f'<style>{STYLE}</style><rect class="paper" width="100%" height="100%"/>'
        f'<text x="{LEFT}" y="16" font-weight="bold">{title}</text>\n{drawn}\n</svg>\n'
    )
