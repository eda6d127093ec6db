"""Pictures of results as SVG that can be read on a light and on a dark page.

The picture brings its own background, so that text and ground always fit each other, whatever the
page around it is like.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from xml.sax.saxutils import escape

from harness.model import Chart, Suite, is_ours
from harness.report import number
from harness.results import Results, Spread

WIDTH, LABELS, RIGHT = 820, 270, 90
ROW, HEAD, FOOT = 26, 48, 34
MARKS = ("square", "diamond", "triangle")
HUES = 6

STYLE = """
.ground { fill: #ffffff; stroke: #d0d7de; } .text { fill: #1f2328; } .faint { fill: #59636e; }
.line { stroke: #d0d7de; } .range { stroke: #1f2328; } .other { fill: #8c959f; }
.ours { fill: #0969da; } .hue0 { fill: #0969da; } .hue1 { fill: #bc4c00; } .hue2 { fill: #1a7f37; }
.hue3 { fill: #8250df; } .hue4 { fill: #bf3989; } .hue5 { fill: #7d6608; }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117; stroke: #3d444d; } .text { fill: #f0f6fc; } .faint { fill: #9198a1; }
.line { stroke: #3d444d; } .range { stroke: #f0f6fc; } .other { fill: #656c76; }
.ours { fill: #4493f8; } .hue0 { fill: #4493f8; } .hue1 { fill: #db6d28; } .hue2 { fill: #3fb950; }
.hue3 { fill: #ab7df8; } .hue4 { fill: #db61a2; } .hue5 { fill: #d4a72c; }
}
text { font: 13px system-ui, sans-serif; } .title { font-weight: 600; font-size: 15px; }
"""

type Scale = Callable[[float], float]


def text(x: float, y: float, words: str, kind: str = "text", anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "line") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def mark(labels: Sequence[str], label: str, x: float, y: float) -> str:
    """What tells contenders apart: TonIO's are round, others have corners; each has a colour."""
    mine = is_ours(label)
    number = [one for one in labels if is_ours(one) == mine].index(label)
    kind = f'class="hue{number % HUES}"'
    if mine:
        return f'<circle {kind} cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
    match MARKS[number // HUES % len(MARKS)]:
        case "square":
            return f'<rect {kind} x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>'
        case "diamond":
            corners: tuple[tuple[float, float], ...] = (
                (x, y - 6),
                (x + 6, y),
                (x, y + 6),
                (x - 6, y),
            )
        case _:
            corners = ((x, y - 6), (x + 6, y + 5), (x - 6, y + 5))
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    return f'<polygon {kind} points="{points}"/>'


def picture(title: str, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img">'
    )
    size = f'width="{WIDTH - 1}" height="{height - 1:.0f}"'
    ground = f'<rect class="ground" x="0.5" y="0.5" {size} rx="6"/>'
    name = text(16, 28, title, "text title")
    about = f"<title>{escape(title)}</title><style>{STYLE}</style>"
    return "\n".join([head, about, ground, name, *parts, "</svg>"]) + "\n"


def values(chart: Chart, results: Results, case: str) -> dict[str, Spread]:
    """What the chart shows of a case, by contender."""
    found = {}
    for label in results.samples.get(case, {}):
        if chart.against:
            spread = results.ratio(case, chart.metric, label, chart.against)
        else:
            spread = results.spread(case, label, chart.metric)
        if spread is None or (chart.log and spread.low <= 0):
            continue
        if chart.inverse:
            spread = Spread(1 / spread.median, 1 / spread.high, 1 / spread.low)
        found[label] = spread.times(chart.scale)
    return found


def ticks(low: float, high: float, *, log: bool) -> Iterator[float]:
    """Round numbers between the two."""
    if log:
        exponent = math.floor(math.log10(low))
        few = math.log10(high / low) < 2
        while 10.0**exponent <= high:
            for factor in (1, 2, 5) if few else (1,):
                if low <= factor * 10.0**exponent <= high:
                    yield factor * 10.0**exponent
            exponent += 1
    else:
        raw = (high - low) / 5 or 1
        magnitude = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw)
        count = math.ceil(low / step)
        while count * step <= high:
            yield count * step
            count += 1


def short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def scale_of(low: float, high: float, *, log: bool) -> Scale:
    width = WIDTH - LABELS - RIGHT
    if log:
        span = math.log(high / low) or 1
        return lambda value: LABELS + width * math.log(value / low) / span
    return lambda value: LABELS + width * (value - low) / ((high - low) or 1)


def axis(
    scale: Scale, low: float, high: float, bottom: float, unit: str, *, log: bool
) -> list[str]:
    parts = []
    for tick in ticks(low, high, log=log):
        parts.append(line(scale(tick), HEAD, scale(tick), bottom))
        parts.append(text(scale(tick), bottom + 18, short(tick), "faint", "middle"))
    parts.append(text(WIDTH - 16, bottom + 18, unit, "faint", "end"))
    return parts


def bars(chart: Chart, suite: Suite, results: Results) -> str:
    """A bar for each contender of the first case; a thin line spans the least and the greatest."""
    case = next(iter(results.samples))
    shown = values(chart, results, case)
    high = max(spread.high for spread in shown.values()) or 1
    bottom = HEAD + ROW * len(shown)
    scale = scale_of(0, high, log=False)
    parts = axis(scale, 0, high, bottom, chart.unit, log=False)
    for place, (label, spread) in enumerate(shown.items()):
        y = HEAD + ROW * place + ROW / 2
        kind = "ours" if is_ours(label) else "other"
        width = max(1.0, scale(spread.median) - LABELS)
        parts += [
            text(LABELS - 8, y + 4, label, "text", "end"),
            f'<rect class="{kind}" x="{LABELS}" y="{y - 8:.1f}" width="{width:.1f}" height="16"/>',
            line(scale(spread.low), y, scale(spread.high), y, "range"),
            text(scale(spread.high) + 6, y + 4, number(spread.median)),
        ]
    title = f"{chart.title} ({suite.case_title(case)})"
    return picture(title, bottom + FOOT, parts)


def legend(labels: Sequence[str], top: float) -> tuple[list[str], float]:
    """The marks and whose they are, in lines; and where they end."""
    parts, x = [], 20.0
    for label in labels:
        width = 24 + 7.2 * len(label)
        if x + width > WIDTH - 16:
            x, top = 20.0, top + 22
        parts += [mark(labels, label, x, top), text(x + 11, top + 4, label)]
        x += width + 8
    return parts, top


def dots(chart: Chart, suite: Suite, results: Results) -> str:
    """A line for each case with a mark for each contender."""
    shown = {case: values(chart, results, case) for case in results.samples}
    labels = list(dict.fromkeys(label for found in shown.values() for label in found))
    medians = [spread.median for found in shown.values() for spread in found.values()]
    low, high = (min(medians) / 1.1, max(medians) * 1.1) if chart.log else (0, max(medians))
    bottom = HEAD + ROW * len(shown)
    scale = scale_of(low, high, log=chart.log)
    parts = axis(scale, low, high, bottom, chart.unit, log=chart.log)
    for place, (case, found) in enumerate(shown.items()):
        y = HEAD + ROW * place + ROW / 2
        parts.append(text(LABELS - 12, y + 4, suite.case_title(case), "text", "end"))
        parts.append(line(LABELS, y, WIDTH - RIGHT, y))
        # Ours last, so that no other mark hides them.
        for label in sorted(found, key=is_ours):
            parts.append(mark(labels, label, scale(found[label].median), y))
    names, end = legend(labels, bottom + 42)
    return picture(chart.title, end + 22, [*parts, *names])


def draw(suite: Suite, results: Results) -> str | None:
    """The suite's picture, if there is anything to show."""
    if not any(values(suite.chart, results, case) for case in results.samples):
        return None
    kind = {"bars": bars, "dots": dots}[suite.chart.kind]
    return kind(suite.chart, suite, results)
