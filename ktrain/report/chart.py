"""Line charts and stacked bars as inline SVG; nothing is loaded from anywhere."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 30
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One series; `name` names it in the legend and its colour in the style sheet by its number."""

    name: str
    points: tuple[Point, ...]


def lines(series: Sequence[Line], *, x_label: str, marks: Sequence[float] = ()) -> str:
    """A chart; vertical marks show where the run began again. Empty without two finite points."""
    shown = [Line(it.name, tuple(point for point in it.points if all(map(math.isfinite, point)))) for it in series]
    points = [point for it in shown for point in it.points]
    if len(points) < 2:
        return ""
    frame = _Frame(points)
    body = [*frame.axes(x_label), *(frame.mark(x) for x in marks), *(frame.draw(n, it) for n, it in enumerate(shown))]
    legend = "".join(
        f'<span class="key s{number}">{escape(it.name)}</span>' for number, it in enumerate(shown) if it.points
    )
    return f'<div class="legend">{legend}</div><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(body)}</svg>'


def bar(parts: Sequence[tuple[str, float]]) -> str:
    """One stacked bar of shares, with a title for each part."""
    total = sum(value for _, value in parts) or 1.0
    at, drawn = 0.0, []
    for name, value in parts:
        width = WIDTH * value / total
        told = escape(f"{name}: {100 * value / total:.1f} %")
        drawn.append(
            f'<rect class="c-{escape(name)}" x="{at:.2f}" y="0" width="{width:.2f}" height="26"><title>{told}</title></rect>'
        )
        at += width
    return f'<svg viewBox="0 0 {WIDTH} 26" class="bar" role="img" preserveAspectRatio="none">{"".join(drawn)}</svg>'


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers in [low, high], 1, 2 or 5 times a power of ten apart."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


class _Frame:
    def __init__(self, points: Sequence[Point]) -> None:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        self.x = (min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1)
        pad = (max(ys) - min(ys)) * 0.05 or abs(max(ys)) * 0.05 or 1.0
        self.y = (min(ys) - pad, max(ys) + pad)

    def place(self, point: Point) -> Point:
        across = (point[0] - self.x[0]) / (self.x[1] - self.x[0])
        up = (point[1] - self.y[0]) / (self.y[1] - self.y[0])
        return _LEFT + across * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)

    def axes(self, x_label: str) -> list[str]:
        drawn = []
        for value in ticks(*self.y):
            _, y = self.place((self.x[0], value))
            drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            drawn.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
        for value in ticks(*self.x, count=6):
            x, _ = self.place((value, self.y[0]))
            drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{value:.6g}</text>')
        drawn.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 1}" text-anchor="end">{escape(x_label)}</text>')
        return drawn

    def mark(self, x: float) -> str:
        at, _ = self.place((x, self.y[0]))
        return f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"><title>began again at {x:g}</title></line>'

    def draw(self, number: int, line: Line) -> str:
        if not line.points:
            return ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.place, line.points))
        last_x, last_y = line.points[-1]
        return f'<polyline class="s{number}" points="{path}"><title>{escape(line.name)}: {last_y:.5g} at {last_x:g}</title></polyline>'
