"""Curves of a training run: loss, accuracy, learning rate and clips, epoch by epoch."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.cli.report.markup import Child, Html, element, number
from lowbitc.cli.report.wording import share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lowbitc.training.records import EpochRecord

_WIDE, _HIGH = 380, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 10, 10, 24, 22
_FLAT = 1e-9
"""A curve that moves less, as a share of its size, is drawn in the middle."""


@dataclass(frozen=True, slots=True)
class _Curve:
    """A measure of every epoch, None where it has none, and how it is spelled."""

    title: str
    values: tuple[float | None, ...]
    spell: Callable[[float], str]


def draw_training(records: Sequence[EpochRecord]) -> list[Child]:
    """Return the page's part on training: a curve for each thing that was measured."""
    parts = [list(held) for _, held in itertools.groupby(records, key=lambda r: r.part)]
    seams = list(itertools.accumulate(len(part) for part in parts))[:-1]
    names = [part[0].part for part in parts]
    figures = (_figure(curve, seams, names) for curve in _curves(records))
    return [
        element("h2", "Training"),
        element("p", _said(records, parts), class_="fine"),
        element("div", *figures, class_="curves"),
    ]


def _said(records: Sequence[EpochRecord], parts: list[list[EpochRecord]]) -> str:
    blocks = len({r.part for r in records}) - 1
    if blocks:
        return f"{len(parts)} parts were trained one after the other, {len(records)} epochs in all."
    return f"{len(records)} epoch{'' if len(records) == 1 else 's'}."


def _curves(records: Sequence[EpochRecord]) -> Iterator[_Curve]:
    yield _Curve("Loss", tuple(r.loss for r in records), "{:.4g}".format)
    if any(r.accuracy is not None for r in records):
        yield _Curve("Labels hit in training", tuple(r.accuracy for r in records), share)
    yield _Curve(
        "Clips, α over its first value, mean", tuple(r.clip for r in records), "{:.4f}".format
    )
    yield _Curve(
        "Learning rate at the end", tuple(r.learning_rate for r in records), "{:.2e}".format
    )
    for kind in sorted({kind for r in records for kind in r.compression}):
        values = tuple(r.compression.get(kind) for r in records)
        yield _Curve(f"Gradients sent, times smaller: {kind}", values, "{:.1f}".format)


def _figure(curve: _Curve, seams: list[int], names: list[str]) -> Html:
    known = [v for v in curve.values if v is not None and math.isfinite(v)]
    if not known:
        return element("figure", element("figcaption", f"{curve.title}: not finite"))
    first, last = known[0], known[-1]
    said = f"{curve.title}: {curve.spell(first)} to {curve.spell(last)}"
    low, high = min(known), max(known)
    places = _Places(len(curve.values), low, high)
    ends = (0, *seams, len(curve.values))
    runs = [range(a, b) for a, b in itertools.pairwise(ends)]
    lines = "".join(_line(curve.values, run, places) for run in runs)
    at = max(i for i, v in enumerate(curve.values) if v == last)
    return element(
        "figure",
        element(
            "svg",
            element("title", said),
            element("path", class_="seams", d=_seams(seams, places)) if seams else None,
            element("line", class_="axis", x1=_LEFT, x2=_WIDE - _RIGHT, y1=_base(), y2=_base()),
            element("path", class_="curve", d=lines),
            element("circle", class_="end", cx=places.x(at), cy=places.y(last), r=3),
            _text(curve.spell(high), _LEFT, 12, "start"),
            _text(curve.spell(low), _LEFT, _HIGH - 6, "start"),
            _text(f"epoch {len(curve.values)}", _WIDE - _RIGHT, _HIGH - 6, "end"),
            *_names(names, runs, places),
            class_="training",
            view_box=f"0 0 {_WIDE} {_HIGH}",
            role="img",
            aria_label=said,
        ),
        element("figcaption", said),
    )


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a value of an epoch is drawn."""

    count: int
    low: float
    high: float

    def x(self, index: float) -> float:
        return _LEFT + (_WIDE - _LEFT - _RIGHT) * (index + 0.5) / self.count

    def y(self, value: float) -> float:
        span = self.high - self.low
        if span <= _FLAT * max(abs(self.high), abs(self.low)):
            return (_TOP + _base()) / 2
        return _base() - (_base() - _TOP) * (value - self.low) / span


def _base() -> float:
    return _HIGH - _BOTTOM


def _line(values: Sequence[float | None], run: range, places: _Places) -> str:
    """Return a line through one part's values; a single one is a short stroke."""
    points = [
        (places.x(i), places.y(v)) for i in run if (v := values[i]) is not None and math.isfinite(v)
    ]
    if len(points) == 1:
        ((x, y),) = points
        points = [(x - 2, y), (x + 2, y)]
    return "".join(f"{'L' if i else 'M'}{number(x)} {number(y)}" for i, (x, y) in enumerate(points))


def _seams(seams: list[int], places: _Places) -> str:
    return "".join(f"M{number(places.x(at - 0.5))} {_TOP}V{number(_base())}" for at in seams)


def _names(names: list[str], runs: list[range], places: _Places) -> Iterator[Html]:
    """Yield a tip for each part, over its whole stretch; names have no room in the picture."""
    if len(names) == 1:
        return
    for name, run in zip(names, runs, strict=True):
        left, right = places.x(run.start - 0.5), places.x(run.stop - 0.5)
        yield element(
            "g",
            element("title", name),
            element("rect", x=left, y=_TOP, width=right - left, height=_base() - _TOP),
            class_="part",
        )


def _text(text: str, x: float, y: float, anchor: str) -> Html:
    return element("text", text, x=x, y=y, text_anchor=anchor)
