"""Break the calibration of one layer, and see whether `lowbitc compare` names it first.

    python benchmarks/blame.py --zoo ZOO --data DATA

Each network is calibrated and rounded once. Then, for one layer after another, either the clip
of what it puts out or the scale of its weights is multiplied, and the program is built and
compared with the float model. Exit code 1 when a broken layer is not ranked first.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.comparing import compare
from lowbitc.compilation import input_specs, options_text, quantizing, silent
from lowbitc.compiler.datasets.opening import open_dataset
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassManager
from lowbitc.options import settle
from lowbitc.passes.chains import by_output, find_chains
from lowbitc.passes.folding import FOLDING
from lowbitc.passes.plan_levels import plan_levels
from lowbitc.targets.build import build_program
from lowbitc.targets.registry import load_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.options import Options
    from lowbitc.targets.program.program import Program


@dataclasses.dataclass(frozen=True)
class Break:
    """What is multiplied by a factor: the clip of a layer, or the scale of its weights.

    ``layer`` counts the network's layers with weights, from 0.
    """

    layer: int
    part: str
    factor: float


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, its bits, and what is broken in it, one after the other."""

    file: str
    calib: str
    test: str
    bits: str
    samples: int
    breaks: tuple[Break, ...]


CASES = (
    Case(
        *("digit_cnn.onnx", "mnist_calib.npz", "mnist_test.npz", "8/4/4", 64),
        (
            Break(0, "clip", 4.0),
            Break(1, "clip", 0.25),
            Break(2, "clip", 4.0),
            Break(3, "clip", 0.25),
            Break(4, "weights", 1.5),
        ),
    ),
    Case(
        *("tiny_resnet8.onnx", "cifar_calib.npz", "cifar_test.npz", "8/2/2", 64),
        (
            Break(0, "clip", 0.25),
            Break(2, "clip", 4.0),
            Break(3, "weights", 0.25),
            Break(5, "clip", 0.25),
            Break(6, "clip", 4.0),
            Break(8, "weights", 4.0),
            Break(9, "weights", 2.0),
        ),
    ),
    Case(
        *("efficientnet_lite0_bn.onnx", "imagenet_calib.npz", "imagenet_test.npz", "8/4/4", 8),
        (
            Break(0, "clip", 4.0),
            Break(2, "clip", 0.25),
            Break(3, "clip", 4.0),
            Break(10, "weights", 4.0),
            Break(17, "clip", 0.25),
            Break(24, "clip", 4.0),
            Break(33, "weights", 0.25),
            Break(48, "clip", 0.25),
        ),
    ),
)


def main() -> int:
    """Break every layer that the cases name, and print what compare says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--zoo", type=Path, required=True, help="folder of the networks")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--calib", type=int, default=64, help="calibration samples")
    parser.add_argument("--left-out", type=int, default=0, help="samples to leave layers out on")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a network's name")
    arguments = parser.parse_args()
    print("network | bits | layer | broken | rank | excess, dB | next worst, dB | said")
    print("--- | --- | --- | --- | --- | --- | --- | ---")
    found = [
        right
        for case in CASES
        if arguments.only in case.file
        for right in run_case(case, arguments)
    ]
    print(f"\n{sum(found)} of {len(found)} broken layers ranked first")
    return 0 if all(found) else 1


def run_case(case: Case, arguments: argparse.Namespace) -> Iterator[bool]:
    """Yield, for each break of a network, whether its layer is ranked first."""
    model = arguments.zoo / case.file
    options = settle(
        model,
        calib=arguments.data / case.calib,
        bits=case.bits,
        limit=arguments.calib,
        threads=arguments.threads,
    )
    with np.load(arguments.data / case.test) as held:
        samples = {"x": held["x"][: case.samples]}
    rounded = round_network(model, options)
    chains = by_output(find_chains(rounded))
    weighted = [c for c in chains.values() if len(c.compute.inputs) > 1 and c.compute.op != "Add"]
    for fault in (None, *case.breaks):
        graph = rounded
        name = "nothing"
        if fault is not None:
            chain = weighted[fault.layer]
            name = chain.compute.name
            stored = chain.compute.inputs[1]
            if fault.part == "clip":
                graph = scale_clip(rounded, options, chain.output, fault.factor)
            else:
                graph = scale_weights(rounded, stored, fault.factor)
        result = compare(
            model,
            build(graph, options),
            samples,
            left_out=arguments.left_out,
            threads=arguments.threads,
        )
        first = result.ranking[0]
        rank = next((x.rank for x in result.layers if x.name == name), 0)
        broken = f"{fault.part} × {fault.factor:g}" if fault else ""
        worst = max(x.excess_db for x in result.layers if x.name != name)
        said = first.cause if first.bad else "no layer is bad"
        shown = first.excess_db if fault else 0.0
        print(
            f"{case.file} | {case.bits} | {name} | {broken} | {rank or ''} | {shown:.1f} | "
            f"{worst:.1f} | {said}",
            flush=True,
        )
        if fault is not None:
            yield rank == 1 and first.bad


def round_network(model: Path, options: Options) -> Graph:
    """Return the network with clips and rounded weights, before it is made of integers."""
    target = load_target(options.target)
    imported = import_model(model, shapes=options.shapes).graph
    dataset = open_dataset(options.calib or "", input_specs(imported), options.preprocess)
    passes = quantizing(imported, target, options, dataset, silent)[:-2]
    return PassManager((*FOLDING, *passes)).run(imported).graph


def build(graph: Graph, options: Options) -> Program:
    """Make the program of a rounded network."""
    target = load_target(options.target)
    passes = quantizing(graph, target, options, None, silent)[-2:]
    partitioned = PassManager(passes).run(graph).graph
    return build_program(partitioned, target, options_text(options)).program


def scale_clip(graph: Graph, options: Options, value: str, factor: float) -> Graph:
    """Multiply the clip of a value, and of all that share its scale."""
    (group,) = (g for g in plan_levels(graph, options.bits) if value in g.values)
    clip = graph.clips[value]
    wrong = dataclasses.replace(clip, scale=float(np.float32(clip.scale * factor)))
    return graph.replace(clips={**graph.clips, **dict.fromkeys(group.values, wrong)})


def scale_weights(graph: Graph, name: str, factor: float) -> Graph:
    """Multiply the scales of weights whose levels stay."""
    held = graph.tensor(name)
    scales = tuple(scale * factor for scale in held.scale)
    wrong = TensorType(held.shape, held.element, scales)
    return graph.replace(types={**graph.types, name: wrong})


if __name__ == "__main__":
    sys.exit(main())
