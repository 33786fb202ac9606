"""What crosses between CPU and chip in a program, and the fewest launches it could have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from lowbitc.compiler.elements import ACCUMULATOR_BITS
from lowbitc.compiler.ir.graph import reads
from lowbitc.compiler.ir.quantized import Dequantize, Quantize
from lowbitc.targets.program.program import Launch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.targets.program.program import HostStep, Program

_SUM_BYTES = 4
"""Bytes of an int32 sum; a level of any width crosses as one byte."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A value at the border of a launch, for one sample.

    ``inward`` values are quantized, others dequantized, with these scales: one, or one a channel.
    """

    launch: int
    value: str
    inward: bool
    shape: tuple[int, ...]
    element: str
    scale: tuple[float, ...]
    size_bytes: int


def crossings(program: Program) -> tuple[Crossing, ...]:
    """Return what enters and leaves each launch, in order; launches count from 0."""
    return tuple(
        crossing
        for index, launch in enumerate(program.launches)
        for crossing in _of_launch(index, launch.graph)
    )


def _of_launch(index: int, graph: Graph) -> Iterator[Crossing]:
    leaving = {n.outputs[0]: n.inputs[0] for n in graph.nodes if isinstance(n, Dequantize)}
    entering = {n.inputs[0]: n.outputs[0] for n in graph.nodes if isinstance(n, Quantize)}
    for value in graph.inputs:
        yield _crossing(index, graph, value, entering.get(value, value), inward=True)
    for value in graph.outputs:
        yield _crossing(index, graph, value, leaving.get(value, value), inward=False)


def _crossing(index: int, graph: Graph, value: str, levels: str, *, inward: bool) -> Crossing:
    held = graph.tensor(levels)
    wide = held.levels is not None and held.levels.bits == ACCUMULATOR_BITS
    size = held.size * (_SUM_BYTES if wide else 1)
    return Crossing(index, value, inward, held.dims, held.element.name, held.scale, size)


def launch_bound(program: Program) -> int:
    """Return the fewest launches of any schedule: the most on one path, apart by CPU nodes."""
    runs: dict[str, int] = {}
    chip_made: set[str] = set()
    for step in program.steps:
        chip = isinstance(step, Launch)
        for inputs, outputs in _nodes(step):
            most = int(chip)
            for value in inputs:
                crossed = chip and value in runs and value not in chip_made
                most = max(most, runs.get(value, 0) + int(crossed))
            runs.update(dict.fromkeys(outputs, most))
            chip_made.update(outputs if chip else ())
    return max(runs.values(), default=0)


def _nodes(step: Launch | HostStep) -> Iterator[tuple[Iterable[str], Iterable[str]]]:
    if isinstance(step, Launch):
        for node in step.graph.nodes:
            yield tuple(reads(node)), node.outputs
        return
    for proto in onnx.load_model_from_string(step.model).graph.node:
        yield tuple(proto.input), tuple(proto.output)
