"""Draw how cycles and energy fall with bits and with zeros: docs/bits-and-zeros.svg.

    python benchmarks/bits_and_zeros.py digit_cnn.onnx=MNIST.npz efficientnet_lite0.onnx=IMAGES.npz

Each network is compiled for lb1 at 8/8/8, 4/4/4 and 2/2/2 from the first 32 samples and simulated
on 16 others; then, at 4/4/4, with the left quarter, half and three quarters of every image black,
that is at level 0, so that there are fewer events.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compilation import compile_with
from lowbitc.options import settle
from lowbitc.targets.cost import Cost, estimate_cost
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.registry import load_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from lowbitc.targets.program.program import Program

BITS = ("8/8/8", "4/4/4", "2/2/2")
BLACK = (0.0, 0.25, 0.5, 0.75)
CALIBRATION, SAMPLES = 32, 16
PAGE = Path(__file__).parents[1] / "docs" / "bits-and-zeros.svg"
_WIDE, _HIGH, _LEFT, _TOP, _PLOT = 760, 300, 70, 54, 180
_COLORS = ("#4269d0", "#efb118")


@dataclass(frozen=True)
class Point:
    """A run: what the x axis says, the share of zeros among all levels read, and the cost."""

    label: str
    zeros: float
    cost: Cost


def run(program: Program, x: npt.NDArray[np.float32], label: str) -> Point:
    """Simulate some samples and estimate the cost of a frame."""
    counts = Counts()
    name = program.inputs[0].name
    Simulator(program, "fast", threads=1).run({name: x}, counts=counts)
    cost, _ = estimate_cost(program, load_target(program.target), counts)
    levels = sum(c.levels for c in counts.layers.values())
    zeros = 1 - sum(c.events for c in counts.layers.values()) / levels
    return Point(label, zeros, cost)


def measure(model: str, x: npt.NDArray[np.float32]) -> tuple[list[Point], list[Point]]:
    """Return the runs by bits, and those with growing parts of the image black."""
    by_bits: list[Point] = []
    by_zeros: list[Point] = []
    test = x[CALIBRATION : CALIBRATION + SAMPLES]
    for bits in BITS:
        options = settle(Path(model), bits=bits, calib={"x": x[:CALIBRATION]}, weights="mse")
        program = compile_with(Path(model), options).program
        by_bits.append(run(program, test, bits))
        if bits == "4/4/4":
            for share in BLACK:
                part = test.copy()
                part[..., : round(share * part.shape[-1])] = 0
                by_zeros.append(run(program, part, f"{share:.0%}"))
    return by_bits, by_zeros


def short(value: float) -> str:
    """Return three digits of a number, narrow enough to stand over a bar."""
    size, unit = next((pair for pair in ((1e6, " M"), (1e3, " k")) if value >= pair[0]), (1, ""))
    return f"{value / size:.3g}{unit}"


def panel(title: str, axis: str, points: list[Point], left: int) -> Iterator[str]:
    """Yield one panel: bars of cycles and energy, each relative to the first point."""
    first = points[0].cost
    width = (_WIDE // 2 - _LEFT) / len(points)
    yield f'<text x="{left}" y="{_TOP - 24}" class="title">{title}</text>'
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = _TOP + _PLOT * (1 - tick)
        yield f'<line x1="{left}" x2="{left + _WIDE // 2 - _LEFT}" y1="{y}" y2="{y}" class="grid"/>'
        yield f'<text x="{left - 8}" y="{y + 4}" class="tick">{tick:.0%}</text>'
    for number, point in enumerate(points):
        x = left + number * width
        shares = (
            (point.cost.cycles_per_frame / first.cycles_per_frame, point.cost.cycles_per_frame, ""),
            (
                point.cost.dynamic_energy_j / first.dynamic_energy_j,
                point.cost.dynamic_energy_j * 1e6,
                " µJ",
            ),
        )
        for bar, (share, value, unit) in enumerate(shares):
            at, high = x + width * (0.12 + 0.38 * bar), _PLOT * share
            yield (
                f'<rect x="{at:.1f}" y="{_TOP + _PLOT - high:.1f}" width="{width * 0.34:.1f}" '
                f'height="{high:.1f}" fill="{_COLORS[bar]}">'
                f"<title>{value:,.1f}{unit}</title></rect>"
            )
            middle, above = at + width * 0.17, _TOP + _PLOT - high - 4
            yield f'<text x="{middle:.1f}" y="{above:.1f}" class="value">{short(value)}</text>'
        middle = x + width / 2
        yield f'<text x="{middle:.1f}" y="{_TOP + _PLOT + 16}" class="mid">{point.label}</text>'
        zeros = f"{point.zeros:.0%} zeros"
        yield f'<text x="{middle:.1f}" y="{_TOP + _PLOT + 31}" class="mid soft">{zeros}</text>'
    yield (
        f'<text x="{left + _WIDE // 4 - _LEFT // 2}" y="{_TOP + _PLOT + 50}" '
        f'class="mid soft">{axis}</text>'
    )


def draw(networks: dict[str, tuple[list[Point], list[Point]]]) -> str:
    """Return the figure as SVG: a row a network."""
    style = (
        "text{font:11px sans-serif;fill:#333}.title{font-weight:bold}.tick{text-anchor:end}"
        ".mid{text-anchor:middle}.value{text-anchor:middle;font-size:9px}.soft{fill:#777}"
        ".grid{stroke:#ddd}"
    )
    parts = [f"<style>{style}</style>", '<rect width="100%" height="100%" fill="#fff"/>']
    for row, (name, (by_bits, by_zeros)) in enumerate(networks.items()):
        parts.append(f'<g transform="translate(0 {row * _HIGH + 20})">')
        parts += panel(f"{name}: bits", "first / other weights / activations", by_bits, _LEFT)
        right = _LEFT + _WIDE // 2
        parts += panel(f"{name}: zeros", "black part of the image, 4/4/4", by_zeros, right)
        parts.append("</g>")
    parts.append(
        f'<rect x="{_LEFT}" y="8" width="10" height="10" fill="{_COLORS[0]}"/>'
        f'<text x="{_LEFT + 15}" y="17">cycles a frame</text>'
        f'<rect x="{_LEFT + 110}" y="8" width="10" height="10" fill="{_COLORS[1]}"/>'
        f'<text x="{_LEFT + 125}" y="17">dynamic energy a frame, µJ (the cost model of lb1)</text>'
    )
    high = _HIGH * len(networks) + 20
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE + 10} {high}">'
    return "\n".join([head, *parts, "</svg>\n"])


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", metavar="MODEL.onnx=DATA.npz")
    networks: dict[str, tuple[list[Point], list[Point]]] = {}
    print(
        "| network | run | zeros | cycles | dynamic energy, µJ |\n| --- | --- | --- | --- | --- |"
    )
    for pair in parser.parse_args().pairs:
        model, _, data = pair.partition("=")
        with np.load(data) as held:
            x = held["x"][: CALIBRATION + SAMPLES].astype(np.float32)
        networks[Path(model).stem] = measure(model, x)
        for point in (p for points in networks[Path(model).stem] for p in points):
            cost = point.cost
            print(
                f"| {Path(model).stem} | {point.label} | {point.zeros:.0%} | "
                f"{cost.cycles_per_frame:,.0f} | {cost.dynamic_energy_j * 1e6:,.2f} |",
                flush=True,
            )
    PAGE.write_text(draw(networks), encoding="utf-8")


if __name__ == "__main__":
    main()
