"""Small charts for pages, as SVG inside HTML; their colours come from the page, so that they fit dark and light.

Each is a kilobyte or two, has a text in words for who cannot see it, and needs neither script nor network. The classes
that a page styles: ``bar``, ``track``, ``grid``, ``band``, ``curve``, ``dot``, ``tick``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from tellapart.curves import ticks

WIDTH, HEIGHT = 520, 230  # of a curve, in its own units
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 12, 40


class Svg(str):
    """Markup that is safe as it stands: every text in it has been escaped."""

    __slots__ = ()

    def __html__(self) -> str:
        """What a template puts in as it is."""
        return str(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return str(self)


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a curve, with what it may well be."""

    x: float  # > 0
    y: float  # 0–1
    low: float  # 0–1, at most y
    high: float  # 0–1, at least y


def bar(share: float, *, kind: str = "") -> Svg:
    """A lying bar as long as a share (0–1). It goes without words: the number stands beside it.

    `kind` is a word that becomes a class of the bar, for its colour.
    """
    width = 100 * min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    return Svg(
        f'<svg class="bar {escape(kind)}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="8"/><rect class="fill" width="{short(width)}" height="8"/></svg>'
    )


def histogram(counts: Sequence[int], *, most: int | None = None, told: str) -> Svg:
    """Standing bars side by side, the bins of a distribution. `most` is the count that fills the height."""
    top = max(most or max(counts, default=0), 1)
    step = 100 / max(len(counts), 1)
    wide = max(step - 0.4, 0.2)
    bars = "".join(
        f'<rect x="{short(i * step)}" y="{short(30 - height)}" width="{short(wide)}" height="{short(height)}"/>'
        for i, count in enumerate(counts)
        if (height := max(30 * count / top, 0.8 if count else 0.0))
    )
    return Svg(
        f'<svg class="histogram" viewBox="0 0 100 30" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(told)}"><rect class="track" y="29.6" width="100" height="0.4"/>'
        f'<g class="fill">{bars}</g></svg>'
    )


def curve(points: Sequence[Point], *, beyond: Sequence[Point] = (), x_name: str, told: str) -> Svg:
    """A line over a scale on which each doubling is as wide as the next, with a band round it.

    Args:
        points: at least one, `x` rising.
        beyond: what is expected further on, drawn dashed.
        x_name: what x counts.
        told: the chart in words.
    """
    every = [*points, *beyond]
    left, right = math.log2(every[0].x), math.log2(every[-1].x)
    scale = ticks(min(each.low for each in every), max(max(each.high for each in every), 0.01), 4)
    low, high = max(scale[0], 0.0), min(scale[-1], 1.0)
    high = high if high > low else low + 0.01

    def x(value: float) -> float:
        where = (math.log2(value) - left) / (right - left) if right > left else 0.5
        return LEFT + where * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (high - min(max(value, low), high)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for value in (each for each in scale if low <= each <= high):
        parts.append(f'<path class="grid" d="M{LEFT} {short(y(value))}H{WIDTH - RIGHT}"/>')
        at = f'x="{LEFT - 8}" y="{short(y(value) + 4)}" text-anchor="end"'
        parts.append(f'<text class="tick" {at}>{percent(value)}</text>')
    for i, each in enumerate(_spread([x(each.x) for each in every])):
        if each:
            place, value = x(every[i].x), f"{every[i].x:,.0f}"
            parts.append(f'<text class="tick" x="{short(place)}" y="{HEIGHT - 22}" text-anchor="middle">{value}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_name)}</text>')
    upper = [(x(each.x), y(each.high)) for each in every]
    lower = [(x(each.x), y(each.low)) for each in reversed(every)]
    parts.append(f'<path class="band" d="{_path([*upper, *lower])}Z"/>')
    parts.append(f'<path class="curve" d="{_path((x(each.x), y(each.y)) for each in points)}"/>')
    if beyond:
        ahead = [points[-1], *beyond] if points else beyond
        parts.append(f'<path class="curve ahead" d="{_path((x(each.x), y(each.y)) for each in ahead)}"/>')
    for name, some in (("dot", points), ("dot ahead", beyond)):
        at = [f'cx="{short(x(each.x))}" cy="{short(y(each.y))}"' for each in some]
        parts.extend(f'<circle class="{name}" {each} r="4"/>' for each in at)
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}">'
    return Svg(f"{head}{''.join(parts)}</svg>")


def percent(share: float) -> str:
    """A share as people write it, never rounded up to all or down to nothing: 97 %, 99.9 %, 100 %."""
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    text = f"{100 * share:.0f}" if 0.005 <= share < 0.985 else f"{100 * share:.1f}"
    if text in ("0.0", "100.0"):
        return "< 0.1 %" if share < 0.5 else "> 99.9 %"
    return f"{text} %"


def _spread(places: Sequence[float], apart: float = 56) -> list[bool]:
    """Which of the places can have a word below them; the last one always."""
    chosen = [False] * len(places)
    edge = math.inf
    for i in reversed(range(len(places))):
        if places[i] <= edge - apart or edge == math.inf:
            chosen[i], edge = True, places[i]
    return chosen


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{short(x)} {short(y)}" for x, y in points)


def short(value: float) -> str:
    """A coordinate, to a hundredth."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
