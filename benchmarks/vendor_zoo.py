"""Map the AKD1000's model zoo, and compare processors and program sizes with those published.

    python benchmarks/vendor_zoo.py [--programs FOLDER] [--engines] [--only NAME]

The networks are built from their published structure with seeded weights; the size of a program as
the vendor's tool writes it is computed from our mapping by the rule of ``loaded_bytes``.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import vendor_models

from lowbitc.compilation import Compilation, compile_with
from lowbitc.compiler.ir import quantized as q
from lowbitc.options import settle
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.placement.model import places
from lowbitc.targets.placement.place import plan
from lowbitc.targets.registry import load_target

if TYPE_CHECKING:
    from lowbitc.targets.program.program import Program

CHIP = load_target("akd1000")
WORD_WEIGHT_BITS, WORD_BYTES = 48, 8
"""A word of the weight memory holds 48 bits of weights, and is loaded as 64 bits."""
DEPTHWISE_BITS = 8
DENSE_BITS = {4: 6.25, 2: 2.0, 1: 1.0}
"""Bits that a dense weight takes: 400,000 B are published for 512,000 weights of 4 bits."""
FILTER_BYTES = 13
PROCESSOR_BYTES = 330
KB = 1024


def loaded_bytes(made: Compilation) -> float:
    """Return the bytes of a program as the vendor's tool would write it for this mapping.

    Every NP of a tile holds its filters' weights in words, all depthwise weights, and constants.
    """
    graph, total = made.graph, 0.0
    nodes = {node.name: node for node in graph.nodes}
    for planned in plan(graph, CHIP.mesh):
        group, cut = planned.group, planned.cut
        layer = group.layer
        weights = layer.outputs * layer.inputs * layer.taps
        bits = layer.weight.bits if layer.weight else 0
        if isinstance(nodes[layer.name], q.QDense):
            total += weights * DENSE_BITS[bits] / 8
        else:
            total += cut.column_tiles * _words(weights * bits)
        if group.before is not None:
            depthwise = group.before.outputs * group.before.taps * DEPTHWISE_BITS
            total += planned.processors * _words(depthwise)
        total += cut.column_tiles * layer.outputs * FILTER_BYTES
        total += planned.processors * PROCESSOR_BYTES
    return total


def _words(bits: int) -> int:
    return math.ceil(bits / WORD_WEIGHT_BITS) * WORD_BYTES


def _agreement(program: Program, shape: tuple[int, ...]) -> str:
    """Run a random frame on every engine; say whether all bits and all counts are the same."""
    random = np.random.default_rng(1)
    frame = {"x": random.uniform(-1, 1, (1, *shape)).astype(np.float32)}
    runs: list[tuple[bytes, Counts]] = []
    for engine in ("reference", "fast", "event"):
        counts = Counts()
        made = Simulator(program, engine, threads=1).run(frame, counts=counts)
        runs.append((b"".join(array.tobytes() for _, array in sorted(made.items())), counts))
    return "equal" if all(run == runs[0] for run in runs) else "DIFFER"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=Path, help="write the programs here")
    parser.add_argument("--engines", action="store_true", help="run a random frame on each engine")
    parser.add_argument("--only", default="", help="only networks with this in their name")
    given = parser.parse_args()
    folder = given.programs
    print(
        "| network | bits | NPs | published | size, KB | published | error | .lbc, KB | engines |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    for row in vendor_models.ZOO:
        if given.only not in row.name:
            continue
        model, images = vendor_models.build(row)
        options = settle(
            None, bits=row.bits, target="akd1000", calib={"x": images}, weights="mse", offload="all"
        )
        made = compile_with(model, options)
        held = made.program.placement
        nps = sum(places(held.processors[slice(*step.processors)]) for step in held.passes)
        size = loaded_bytes(made) / KB
        path = (folder or Path()) / f"{row.name.replace(' ', '_').replace(',', '')}.lbc"
        if folder is not None:
            made.program.save(path)
        packed = sum(len(s.data) for s in made.program.container.sections) / KB
        passes = f" in {len(held.passes)} passes" if len(held.passes) > 1 else ""
        print(
            f"| {row.name} | {row.bits} | {nps}{passes} | {row.nps} | {size:,.1f} | "
            f"{row.size_kb:,.1f} | {size / row.size_kb - 1:+.1%} | {packed:,.1f} | "
            f"{_agreement(made.program, row.shape) if given.engines else ''} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
