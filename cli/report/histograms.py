"""Histograms of what a layer puts out and of its weights, with levels and clips drawn in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.cli.report.markup import Html, element, number
from lowbitc.cli.report.wording import share

if TYPE_CHECKING:
    from lowbitc.level_shapes import LevelShape

_WIDE, _HIGH = 380, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 10, 10, 22, 24
_MOST_BARS = 64
_FEW_LEVELS = 16
_BEYOND = 2.0
"""The picture ends at so many times the outermost level."""
_HEADROOM = 1.15
_NEAR = 0.14
"""Share of the axis within which a level is named in place of the end."""


@dataclass(frozen=True, slots=True)
class _Bar:
    """A bar over values from ``low`` to ``high``; ``share`` is that of all values."""

    low: float
    high: float
    share: float

    @property
    def density(self) -> float:
        """Share of all values in one unit of the axis."""
        return self.share / (self.high - self.low)


def draw_histogram(shape: LevelShape, what: str, *, clip: float | None = None) -> Html:
    """Return a picture; ``clip`` is a value to mark, PACT's α."""
    bars = _bars(shape)
    floats = _float_bars(shape)
    outer = max(abs(bars[0].low), abs(bars[-1].high), 1e-30) * _BEYOND
    low = max(min(b.low for b in (*bars, *floats)), -outer)
    high = min(max(b.high for b in (*bars, *floats)), outer)
    axis = _Axis(low, high)
    # The bar of zeros, the sparsity, would flatten all others: it is cut, and its share is said.
    zero = next((b for b in bars if b.low < 0 < b.high or b.low == 0), None)
    others = [b.density for b in bars if b is not zero]
    floating = sorted((b.density for b in floats), reverse=True)
    most = max([*others, *floating[1:2]], default=0.0) * _HEADROOM or 1.0
    few = len(shape.shares) <= _FEW_LEVELS
    parts = [
        element("path", class_="floats", d=_area(floats, axis, most)) if floats else None,
        element("path", class_="ticks", d=_ticks(shape, axis)) if few else None,
        element("path", class_="bars", d=_rectangles(bars, axis, most, thin=few)),
        element("line", class_="axis", x1=_LEFT, x2=_WIDE - _RIGHT, y1=_base(), y2=_base()),
        *_labels(axis, shape),
    ]
    if zero is not None and zero.density > most:
        at = axis.place((zero.low + zero.high) / 2)
        text = f"{share(zero.share)} are 0"
        side = "start" if at < _WIDE / 2 else "end"
        offset = 8 if side == "start" else -8
        parts.append(element("text", text, class_="note", x=at + offset, y=12, text_anchor=side))
    if clip is not None and low <= clip <= high:
        parts += _clip(axis.place(clip), clip)
    return element(
        "svg",
        element("title", what),
        *parts,
        class_="histogram",
        view_box=f"0 0 {_WIDE} {_HIGH}",
        role="img",
        aria_label=what,
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float

    def place(self, value: float) -> float:
        inside = (value - self.low) / ((self.high - self.low) or 1.0)
        return _LEFT + min(max(inside, 0.0), 1.0) * (_WIDE - _LEFT - _RIGHT)


def _base() -> float:
    return _HIGH - _BOTTOM


def _height(density: float, most: float) -> float:
    return min(density / most, 1.0) * (_HIGH - _TOP - _BOTTOM)


def _bars(shape: LevelShape) -> list[_Bar]:
    """Return one bar a level, or one for several next to each other where they are many."""
    levels = shape.element.levels().tolist()
    step = (levels[1] - levels[0]) * shape.scale if len(levels) > 1 else shape.scale
    together = -(-len(levels) // _MOST_BARS)
    found: list[_Bar] = []
    for start in range(0, len(levels), together):
        part = levels[start : start + together]
        low, high = part[0] * shape.scale - step / 2, part[-1] * shape.scale + step / 2
        found.append(_Bar(low, high, sum(shape.shares[start : start + together])))
    return found


def _float_bars(shape: LevelShape) -> list[_Bar]:
    floats = shape.floats
    if floats is None:
        return []
    return [
        _Bar(floats.low + i * floats.width, floats.low + (i + 1) * floats.width, held)
        for i, held in enumerate(floats.shares)
    ]


def _rectangles(bars: list[_Bar], axis: _Axis, most: float, *, thin: bool) -> str:
    spelled = ""
    for bar in bars:
        left, right = axis.place(bar.low), axis.place(bar.high)
        if bar.share == 0 or right <= left:
            continue
        if thin:
            margin = 0.3 * (right - left)
            left, right = left + margin, right - margin
        high = max(_height(bar.density, most), 0.75)
        spelled += (
            f"M{number(left)} {number(_base())}v{number(-high)}"
            f"h{number(right - left)}v{number(high)}z"
        )
    return spelled


def _area(bars: list[_Bar], axis: _Axis, most: float) -> str:
    inside = [b for b in bars if axis.low <= b.low <= axis.high]
    if not inside:
        return ""
    spelled = f"M{number(axis.place(inside[0].low))} {number(_base())}"
    for bar in inside:
        top = _base() - _height(bar.density, most)
        spelled += f"V{number(top)}H{number(axis.place(bar.high))}"
    return f"{spelled}V{number(_base())}z"


def _ticks(shape: LevelShape, axis: _Axis) -> str:
    places = (axis.place(level * shape.scale) for level in shape.element.levels().tolist())
    return "".join(f"M{number(x)} {_TOP}V{number(_base())}" for x in places)


def _labels(axis: _Axis, shape: LevelShape) -> list[Html]:
    """Name the ends, or the outermost levels where these lie next to them, and 0 in between."""
    near = _NEAR * (axis.high - axis.low)
    ends = [(axis.low, shape.element.minimum, "start"), (axis.high, shape.element.maximum, "end")]
    values: list[tuple[float, str]] = []
    for end, level, side in ends:
        value = level * shape.scale
        values.append(
            (value, "middle" if end != value else side) if abs(value - end) < near else (end, side)
        )
    if axis.low + near < 0 < axis.high - near:
        values.append((0.0, "middle"))
    return [
        element("text", f"{v:.3g}", class_="tick", x=axis.place(v), y=_HIGH - 8, text_anchor=side)
        for v, side in values
    ]


def _clip(at: float, clip: float) -> list[Html]:
    side = "end" if at > _WIDE / 2 else "start"
    offset = -5 if side == "end" else 5
    return [
        element("line", class_="clip", x1=at, x2=at, y1=_TOP - 8, y2=_base()),
        element(
            "text", f"clip {clip:.3g}", class_="note strong", x=at + offset, y=12, text_anchor=side
        ),
    ]
