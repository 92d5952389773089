"""Diagrams with two axes for pages, as SVG: said against true, coverage against accuracy, shorts by epoch.

Like `charts`, they take their colours from the page and tell what they show in words. The classes that a page styles,
beyond those of `charts`: ``even``, ``whisker``, ``mark``, ``line a`` to ``line d``, ``key``, ``strand``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tellapart.charts import Svg, short
from tellapart.curves import ticks

WIDTH, HEIGHT = 520, 300  # in its own units
LEFT, RIGHT, TOP, BOTTOM = 62, 26, 14, 46
ENOUGH = 20  # pictures of a share that decides on the scale
LETTERS = "abcd"  # of lines: their colours and dashes


@dataclass(frozen=True, slots=True)
class Share:
    """A share of pictures, with what it may well be."""

    x: float  # 0–1
    y: float  # 0–1
    low: float  # 0–1, at most y
    high: float  # 0–1, at least y
    n: int  # pictures, at least 1


@dataclass(frozen=True, slots=True)
class Dot:
    """One of many things that are compared by a share."""

    x: float  # with names, the place of one of them, from 0
    y: float  # 0–1
    kind: str = ""  # a word that becomes a class of the dot, for its colour
    told: str = ""  # shown where a pointer rests on it


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where values lie in a diagram."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return LEFT + _part(value, self.left, self.right) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - _part(value, self.low, self.high) * (HEIGHT - TOP - BOTTOM)

    def at(self, points: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{short(self.x(x))} {short(self.y(y))}" for x, y in points)


def reliability(bins: Sequence[Share], *, told: str) -> Svg:
    """How sure the answers are (x) against how many of them are right (y); on the diagonal they are what they say.

    Args:
        bins: those that hold pictures; the more of all pictures in one, the larger its dot.
        told: the diagram in words.
    """
    axes = _Axes(min([math.floor(10 * each.x) / 10 for each in bins], default=0.0), 1.0, 0.0, 1.0)
    parts = [*_grid(axes, "how sure it says it is", "right answers", axes.left)]
    parts.append(f'<path class="even" d="{axes.at([(axes.left, axes.left), (1, 1)])}"/>')
    most = max((each.n for each in bins), default=1)
    for each in bins:
        x = short(axes.x(each.x))
        parts.append(f'<path class="whisker" d="M{x} {short(axes.y(each.low))}V{short(axes.y(each.high))}"/>')
        radius = short(3.5 + 6.5 * math.sqrt(each.n / most))
        parts.append(f'<circle class="dot" cx="{x}" cy="{short(axes.y(each.y))}" r="{radius}"/>')
    return _drawn(parts, told)


def coverage(points: Sequence[Share], *, at: Share | None = None, floor: float = 0.0, told: str) -> Svg:
    """The share of pictures that are answered, the surest first (x), against how many answers are right (y).

    Args:
        points: at least one, `x` rising, each with its band.
        at: what the model does by its own guards, drawn as a mark.
        floor: accuracy below which the diagram need not reach; drawn as a line, where it is in sight.
        told: the diagram in words.
    """
    told_of = [each for each in points if each.n >= ENOUGH] or points[-1:]  # of few pictures the share leaps about
    lowest = min([each.y for each in told_of] + [points[-1].low] + ([at.y] if at else []))
    scale = ticks(min(lowest, 0.98), 1.0, 4)
    axes = _Axes(0.0, 1.0, max(scale[0], 0.0), 1.0)
    parts = [*_grid(axes, "pictures that it answers, the surest first", "right answers", 0.0)]
    if axes.low <= floor < 1:
        parts.append(f'<path class="even" d="{axes.at([(0, floor), (1, floor)])}"/>')
    upper = [(each.x, each.high) for each in points]
    lower = [(each.x, each.low) for each in reversed(points)]
    parts.append(f'<path class="band" d="{axes.at([*upper, *lower])}Z"/>')
    parts.append(f'<path class="curve" d="{axes.at([(each.x, each.y) for each in points])}"/>')
    if at is not None:
        parts.append(f'<circle class="mark" cx="{short(axes.x(at.x))}" cy="{short(axes.y(at.y))}" r="7"/>')
    return _drawn(parts, told)


def lines(
    values: Mapping[str, Sequence[float]],
    *,
    shares: bool,
    x_name: str,
    x: Sequence[float] = (),
    mark: int | None = None,
    told: str,
) -> Svg:
    """Numbers by epoch, or by another x: a line each, up to four.

    Args:
        values: name of a line -> its values; what is not finite is left out.
        shares: whether they are shares, 0–1, of which the scale ends at 100 %; else the scale begins at 0.
        x_name: what x counts.
        x: the values of x, rising; left out: 1, 2, …
        mark: an x at which an upright line stands: what was kept.
        told: the diagram in words.
    """
    finite = [value for line in values.values() for value in line if math.isfinite(value)] or [0.0]
    n = max((len(line) for line in values.values()), default=1)
    places = [*x] or [float(i + 1) for i in range(n)]
    scale = ticks(min(*finite, 0.95), 1.0, 4) if shares else ticks(0.0, max(finite), 4)
    axes = _Axes(places[0], places[-1], max(scale[0], 0.0), scale[-1])
    marks = [place for place in ticks(places[0], places[-1], 8) if places[0] <= place <= places[-1] and place % 1 == 0]
    marks = places if len(places) <= 2 or len(marks) < 2 else marks
    parts = []
    for value in (each for each in scale if axes.low <= each <= axes.high):
        parts += _across(axes, value, _mark(value) if shares else f"{value:g}")
    parts += [_below(axes, place, f"{place:,.0f}") for place in marks]
    parts.append(_x_name(x_name))
    if mark is not None:
        parts.append(f'<path class="even" d="{axes.at([(mark, axes.low), (mark, axes.high)])}"/>')
    for letter, line in zip(LETTERS, values.values(), strict=False):
        there = [(place, value) for place, value in zip(places, line, strict=False) if math.isfinite(value)]
        if there:
            parts.append(f'<path class="line {letter}" d="{axes.at(there)}"/>')
        dots = there if len(there) <= 40 else there[-1:]
        parts += [
            f'<circle class="end {letter}" cx="{short(axes.x(a))}" cy="{short(axes.y(b))}" r="3.5"/>' for a, b in dots
        ]
    return _drawn(parts, told)


def dots(
    some: Sequence[Dot],
    *,
    x_name: str,
    y_name: str = "right answers",
    best: Sequence[tuple[float, float]] = (),
    level: float | None = None,
    names: Sequence[str] = (),
    logarithmic: bool = False,
    told: str,
) -> Svg:
    """Many things by two numbers: a dot each.

    Args:
        some: at least one.
        x_name, y_name: what the axes count.
        best: a line through the dots, such as the best so far.
        level: a share at which a lying line stands, such as what there was before.
        names: what x stands for, where it is no number.
        logarithmic: whether each doubling of x, above 0, is as wide as the next.
        told: the diagram in words.
    """

    def place(x: float) -> float:
        return math.log2(x) if logarithmic else x

    xs = [place(each.x) for each in some] or [0.0]
    left, right = (-0.5, len(names) - 0.5) if names else (min(xs), max(xs))
    if not names:
        room = 0.04 * (right - left) or 0.5
        left, right = left - room, right + room
    ys = [*(each.y for each in some), *([] if level is None else [level])] or [1.0]
    scale = ticks(min(*ys, max(ys) - 0.02), max(ys), 4)
    axes = _Axes(left, right, max(scale[0], 0.0), min(scale[-1], 1.0))
    parts = []
    for value in (each for each in scale if axes.low - 1e-9 <= each <= 1 + 1e-9):
        parts += _across(axes, value, _mark(value))
    parts += [_below(axes, at, text) for at, text in _stops(axes, names, logarithmic)]
    parts += [_x_name(x_name), _y_name(y_name)]
    if level is not None:
        parts.append(f'<path class="even" d="{axes.at([(left, level), (right, level)])}"/>')
    if len(best) > 1:
        parts.append(f'<path class="line a" d="{axes.at([(place(x), y) for x, y in best])}"/>')
    for each in some:
        title = f"<title>{escape(each.told)}</title>" if each.told else ""
        at = f'cx="{short(axes.x(place(each.x)))}" cy="{short(axes.y(each.y))}"'
        parts.append(
            f'<circle class="dot {escape(each.kind)}" {at} r="{7 if each.kind == "taken" else 4.5}">{title}</circle>'
        )
    return _drawn(parts, told)


def strands(
    some: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, x_name: str, y_name: str = "right answers", told: str
) -> Svg:
    """Many lines of shares over a share: each with a word that becomes its class; the last are drawn on top."""
    ys = [y for _, line in some for _, y in line] or [1.0]
    scale = ticks(min(*ys, max(ys) - 0.02), max(ys), 4)
    axes = _Axes(0.0, 1.0, max(scale[0], 0.0), min(scale[-1], 1.0))
    parts = [*_grid(axes, x_name, y_name, 0.0)]
    for kind, line in some:
        parts.append(f'<path class="strand {escape(kind)}" d="{axes.at(line)}"/>')
        x, y = line[-1]
        parts.append(f'<circle class="dot {escape(kind)}" cx="{short(axes.x(x))}" cy="{short(axes.y(y))}" r="3"/>')
    return _drawn(parts, told)


def _stops(axes: _Axes, names: Sequence[str], logarithmic: bool) -> list[tuple[float, str]]:
    """Where words stand below a diagram of dots, and which."""
    if names:
        return list(enumerate(map(str, names)))
    if not logarithmic:
        whole = axes.right - axes.left >= 4
        inside = [each for each in ticks(axes.left, axes.right, 6) if axes.left <= each <= axes.right]
        return [(each, f"{each:,g}") for each in inside if not whole or each % 1 == 0]
    step = max((axes.right - axes.left) / 5, 1e-9)
    places = [axes.left + (i + 0.5) * step for i in range(5)]
    return [(each, f"{2**each:.2g}" if 2**each < 100 else f"{round(2**each, -1):,.0f}") for each in places]


def key(letter: str) -> Svg:
    """A short piece of a line of `lines`, to stand beside its name."""
    line = f'<path class="line {escape(letter)}" d="M1 4H27"/>'
    return Svg(f'<svg class="key" viewBox="0 0 28 8" aria-hidden="true">{line}</svg>')


def interval(share: float, low: float, high: float, *, kind: str = "") -> Svg:
    """A lying bar as long as a share (0–1), with a whisker over what it may well be. The short stands beside it."""
    width, left, right = (100 * min(max(each, 0.0), 1.0) for each in (share, low, high))
    return Svg(
        f'<svg class="bar {escape(kind)}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="8"/><rect class="fill" width="{short(width)}" height="8"/>'
        f'<rect class="span" x="{short(left)}" y="3.2" width="{short(max(right - left, 0.8))}" height="1.6"/></svg>'
    )


def _grid(axes: _Axes, x_name: str, y_name: str, left: float) -> list[str]:
    """Both scales, of shares, with their lines and names."""
    parts = []
    for value in ticks(axes.low, axes.high, 5):
        if axes.low - 1e-9 <= value <= axes.high + 1e-9:
            parts += _across(axes, value, _mark(value))
    step = 0.25 if left == 0 else 0.1 if left >= 0.5 else 0.2
    for i in range(int(1 / step) + 1):
        if (value := 1 - i * step) >= left - 1e-9:
            parts.append(_below(axes, value, _mark(value)))
    return [*parts, _x_name(x_name), _y_name(y_name)]


def _across(axes: _Axes, value: float, text: str) -> list[str]:
    y = axes.y(value)
    return [
        f'<path class="grid" d="M{LEFT} {short(y)}H{WIDTH - RIGHT}"/>',
        f'<text class="tick" x="{LEFT - 6}" y="{short(y + 4)}" text-anchor="end">{escape(text)}</text>',
    ]


def _below(axes: _Axes, value: float, text: str) -> str:
    x = short(axes.x(value))
    return f'<text class="tick" x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{escape(text)}</text>'


def _x_name(name: str) -> str:
    middle = short((LEFT + WIDTH - RIGHT) / 2)
    return f'<text class="tick" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(name)}</text>'


def _y_name(name: str) -> str:
    return (
        f'<text class="tick" transform="translate(13 {short((TOP + HEIGHT - BOTTOM) / 2)}) rotate(-90)" '
        f'text-anchor="middle">{escape(name)}</text>'
    )


def _drawn(parts: Sequence[str], told: str) -> Svg:
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}">'
    return Svg(f"{head}{''.join(parts)}</svg>")


def _part(value: float, low: float, high: float) -> float:
    """Where a value lies between two, 0–1; what is beyond lies at the edge."""
    return min(max((value - low) / (high - low), 0.0), 1.0) if high > low else 0.5


def _mark(share: float) -> str:
    return f"{100 * share:.6g} %"
