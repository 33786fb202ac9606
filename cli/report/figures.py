"""The head of the page: the verdict, figures with their intervals, and what a frame costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.cli.report.markup import Html, element, number
from lowbitc.cli.report.wording import decibels, quantity, share, size_bytes

if TYPE_CHECKING:
    from lowbitc.cli.report.content import Content, MetricView

_WIDE, _HIGH = 320, 34
_MIDDLE = 17
_PAD = 10
_MARKS = {"good": "✓", "bad": "✕", "open": "?"}


def draw_verdict(content: Content) -> Html | None:
    """Return the verdict in large letters, with the reasons below."""
    verdict = content.verdict
    if not verdict.headline:
        return None
    mark = _MARKS.get(verdict.state)
    return element(
        "div",
        element(
            "p",
            element("span", mark, class_="sign", aria_hidden="true") if mark else None,
            verdict.headline,
            class_="said",
        ),
        element("ul", *(element("li", s) for s in verdict.sentences))
        if verdict.sentences
        else None,
        class_=f"verdict {verdict.state}",
    )


def draw_metrics(content: Content) -> Html | None:
    """Return every figure with its interval, the float model's and the bound it is held to."""
    if not content.metrics:
        return None
    return element("div", *(_metric(m) for m in content.metrics), class_="metrics")


def _metric(metric: MetricView) -> Html:
    said = [_spell(metric, metric.value)]
    parts: list[str] = []
    if metric.low is not None and metric.high is not None:
        ends = f"{_spell(metric, metric.low)} to {_spell(metric, metric.high)}"
        parts.append(f"{100 * metric.confidence:.0f} % interval {ends}")
    if metric.reference is not None:
        parts.append(f"float {_spell(metric, metric.reference)}")
    if metric.bound is not None:
        parts.append(f"bound {_spell(metric, metric.bound)}")
    return element(
        "div",
        element("p", metric.name, class_="label"),
        element("p", *said, class_="big"),
        _scale(metric),
        element("p", "; ".join(parts), class_="fine") if parts else None,
        class_="metric",
    )


def _spell(metric: MetricView, value: float) -> str:
    return f"{100 * value:.2f} %" if metric.share else f"{value:.4g}"


def _scale(metric: MetricView) -> Html | None:
    """Draw the interval as a line, the value as a dot, float as a diamond, a bound as a bar."""
    if metric.low is None or metric.high is None:
        return None
    others = [v for v in (metric.reference, metric.bound) if v is not None]
    low, high = min([metric.low, *others]), max([metric.high, *others])
    span = (high - low) or 1.0
    low, high = low - span / 10, high + span / 10

    def place(value: float) -> float:
        return _PAD + (value - low) / (high - low) * (_WIDE - 2 * _PAD)

    left, right = place(metric.low), place(metric.high)
    whisker = (
        f"M{number(left)} {_MIDDLE}H{number(right)}M{number(left)} 11V23M{number(right)} 11V23"
    )
    parts = [
        element("line", class_="axis", x1=0, x2=_WIDE, y1=_MIDDLE, y2=_MIDDLE),
        element("path", class_="whisker", d=whisker),
    ]
    if metric.bound is not None:
        at = place(metric.bound)
        parts.append(element("line", class_="bound", x1=at, x2=at, y1=4, y2=30))
    if metric.reference is not None:
        at = place(metric.reference)
        parts.append(element("path", class_="float", d=f"M{number(at)} 10l7 7-7 7-7-7z"))
    parts.append(element("circle", class_="dot", cx=place(metric.value), cy=_MIDDLE, r=5.5))
    return element(
        "svg", *parts, class_="interval", view_box=f"0 0 {_WIDE} {_HIGH}", aria_hidden="true"
    )


def draw_tiles(content: Content) -> Html:
    """Return the figures of the whole program, one a tile."""
    tiles: list[tuple[str, str, str]] = []
    found = content.simulation
    if content.comparison is not None:
        output = content.comparison.output
        tiles.append(
            ("outputs", decibels(output.sqnr_db, " dB"), f"cosine {output.cosine:.4f} to float")
        )
    if found is not None:
        cost = found.cost
        tiles += [
            (
                "energy a frame",
                quantity(cost.energy_per_frame_j, "J"),
                f"{quantity(cost.dynamic_energy_j, 'J')} for events",
            ),
            ("frames a second", f"{cost.frames_per_second:,.0f}", "the slowest layer decides"),
            ("cycles a frame", f"{cost.cycles_per_frame:,.0f}", "one frame alone"),
            ("zeros", share(found.sparsity), "of all levels that layers read"),
            (
                "on the chip",
                share(found.device.mac_share),
                f"of the work, {share(found.device.param_share)} of the weights",
            ),
        ]
    program = content.program
    tiles.append(("program", size_bytes(content.size_bytes), f"{_launches(content)} a frame"))
    tiles.append(("NPs", f"{program.placement.most_processors:,}", "in the fullest pass"))
    return element(
        "dl",
        *(
            element(
                "div",
                element("dt", name),
                element("dd", element("span", value, class_="value"), element("span", note)),
            )
            for name, value, note in tiles
        ),
        class_="tiles",
    )


def _launches(content: Content) -> str:
    count = len(content.program.launches)
    return f"{count} launch{'' if count == 1 else 'es'}"
