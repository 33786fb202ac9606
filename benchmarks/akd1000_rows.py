"""Compare the cost model of akd1000 with the vendor's measured rows, each left out in turn.

    python benchmarks/akd1000_rows.py [--images IMAGES.npz]

The networks have seeded weights and the NPs of each layer that the vendor's listings show. One
constant is free for cycles (synaptic operations a cycle and NP) and one for energy (joules a
synaptic operation): every row is predicted with the constant that fits the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import vendor_models

from lowbitc.compilation import compile_with
from lowbitc.options import settle
from lowbitc.targets.cost import Cost, estimate_cost
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.placement.place import place, plan
from lowbitc.targets.placement.split import Cut
from lowbitc.targets.program.emit import Origin, emit
from lowbitc.targets.program.load import program_of
from lowbitc.targets.registry import load_target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vendor_models import Array

    from lowbitc.targets.program.program import Program
    from lowbitc.targets.spec import Target

CHIP = load_target("akd1000")
RATE, ENERGY = "synaptic_ops_per_cycle", "synaptic_op_energy"
AKIDANET = ((4, 1), (6, 1), (3, 1), (3, 2), (2, 2), (2, 4), *((1, 4),) * 5, (1, 8), (1, 8))
KEYWORDS = ((1, 16),) * 4
"""Tiles, and blocks of filters in each, of the layers in the vendor's listings."""


@dataclass(frozen=True)
class Row:
    """A measured row: cycles a frame; ``stream`` says that frames followed one another.

    ``energies`` are millijoules a frame above the floor, of two runs that were published.
    """

    name: str
    network: str
    stream: bool
    cycles: float
    energies: tuple[float, ...] = ()


ROWS = (
    Row("DS-CNN, one random frame", "DS-CNN, keywords", stream=False, cycles=93965),
    Row("AkidaNet 0.5 @224, one random frame", "AkidaNet 0.5 @224", stream=False, cycles=13733572),
    Row(
        "AkidaNet 0.5 @224, ten photographs",
        "AkidaNet 0.5 @224",
        stream=True,
        cycles=4300064,
        energies=(23.48 - 912.23 / 43.48, 19.13 - 905.21 / 51.28),
    ),
)


@dataclass(frozen=True)
class Measured:
    """A row's program and the events of its frames."""

    row: Row
    program: Program
    counts: Counts

    def cost(self, **figures: float) -> Cost:
        """Return the cost with other values of some figures."""
        return estimate_cost(self.program, _with(CHIP, figures), self.counts)[0]

    def cycles(self, rate: float) -> float:
        """Return cycles a frame at a rate: of a stream the interval, else the latency."""
        cost = self.cost(**{RATE: rate})
        if self.row.stream:
            return CHIP.figure("clock") / cost.frames_per_second
        return cost.cycles_per_frame

    def energy_mj(self, joules: float) -> float:
        """Return a frame's dynamic energy at so many joules an operation."""
        return self.cost(**{ENERGY: joules}).dynamic_energy_j * 1e3


def _with(target: Target, figures: dict[str, float]) -> Target:
    changed = {k: dataclasses.replace(target.figures[k], value=v) for k, v in figures.items()}
    return dataclasses.replace(target, figures={**target.figures, **changed})


def measure(row: Row, images: Array | None) -> Measured:
    """Compile a row's network with the vendor's NPs, and count the events of its frames."""
    published = next(r for r in vendor_models.ZOO if r.name == row.network)
    model, smooth = vendor_models.build(published)
    calib = smooth if images is None or published.shape[0] == 1 else images[:8]
    options = settle(None, bits="8/4/4", target="akd1000", calib={"x": calib}, weights="mse")
    graph = compile_with(model, options).graph
    listed = KEYWORDS if "DS" in row.network else AKIDANET
    layers = [p.group.layer for p in plan(graph, CHIP.mesh)][1:-1]
    cuts = {
        layer.name: Cut(-(-layer.outputs // blocks), 1, tiles)
        for layer, (tiles, blocks) in zip(layers, listed, strict=True)
    }
    placement = place(graph, CHIP.mesh, cuts=cuts)
    program = program_of(emit(graph, placement, Origin("akd1000", CHIP.revision, {})))
    random = np.random.default_rng(7)
    frames = random.integers(0, 256, (1, *published.shape)) / 255
    if published.shape[0] > 1:
        frames = 2 * frames - 1
    if row.stream:
        frames = vendor_models.smooth_images(published.shape, 10, random)
        frames = frames if images is None else images[8:18]
    counts = Counts()
    Simulator(program, "fast", threads=1).run({"x": frames.astype(np.float32)}, counts=counts)
    return Measured(row, program, counts)


def fit(predict: Sequence[tuple[Callable[[float], float], float]], start: float) -> float:
    """Return the constant whose predictions are off by a mean factor of 1, by bisection."""
    low, high = start / 1e3, start * 1e3
    rising = predict[0][0](high) > predict[0][0](low)
    for _ in range(60):
        middle = math.sqrt(low * high)
        off = sum(math.log(guess(middle) / wanted) for guess, wanted in predict)
        if (off > 0) is rising:
            high = middle
        else:
            low = middle
    return math.sqrt(low * high)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", help="an .npz with 18 photographs [n,3,224,224] in -1 … 1 as x")
    given = parser.parse_args().images
    images = None
    if given:
        with np.load(given) as held:
            images = held["x"][:18].astype(np.float32)
    found = [measure(row, images) for row in ROWS]
    rate = fit([(m.cycles, m.row.cycles) for m in found], 4.0)
    print("| row | published cycles | predicted, left out | error | with all rows | error |")
    print("| --- | --- | --- | --- | --- | --- |")
    for held in found:
        others = [(m.cycles, m.row.cycles) for m in found if m is not held]
        left_out, fitted = held.cycles(fit(others, 4.0)), held.cycles(rate)
        wanted = held.row.cycles
        print(
            f"| {held.row.name} | {wanted:,.0f} | {left_out:,.0f} | {left_out / wanted - 1:+.0%} | "
            f"{fitted:,.0f} | {fitted / wanted - 1:+.0%} |"
        )
    print(f"\n{RATE}: {rate:.3g} at 8-bit weights, {2 * rate:.3g} at 4")
    stream = found[-1]
    print("\n| run | published mJ | predicted from the other | error |\n| --- | --- | --- | --- |")
    for number, wanted in enumerate(stream.row.energies):
        other = stream.row.energies[1 - number]
        predicted = stream.energy_mj(fit([(stream.energy_mj, other)], 1e-11))
        print(f"| {number + 1} | {wanted:.2f} | {predicted:.2f} | {predicted / wanted - 1:+.0%} |")
    both = [(stream.energy_mj, wanted) for wanted in stream.row.energies]
    print(f"\n{ENERGY}: {fit(both, 1e-11):.3g} J at 8-bit weights")
    for held in found:
        layers = estimate_cost(held.program, CHIP, held.counts)[1]
        ops = sum(layer.synaptic_ops for layer in layers)
        zeros = [layer.sparsity for layer in layers if layer.op == "QConv"]
        print(f"{held.row.name}: {ops / 1e6:.1f} M operations, {np.mean(zeros):.0%} zeros")


if __name__ == "__main__":
    main()
