"""Say what of a model that is quantized already the chip cannot take as it is.

The chip takes a layer whose inputs are on levels, whose weights lie on a grid, and whose output is
put on levels by the model, or leaves as 32-bit sums. Whatever is not so runs on the CPU, in float,
as the model says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import Diagnostic, error
from lowbitc.compiler.elements import LevelType, signed, unsigned
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.groups import CLIPS, KEEPS_LEVELS, POSITIVE, SUMMING, WEIGHTED
from lowbitc.compiler.statistics.recover_levels import recover_levels
from lowbitc.passes.bin_weights import channel_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

_WIDTHS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Grid:
    """Levels of a value: level · scale, from ``low`` to ``high``, in an element that holds them."""

    element: LevelType
    scale: float
    low: int
    high: int

    @property
    def full(self) -> bool:
        """Whether all levels of the element are in use."""
        return (self.low, self.high) == (self.element.minimum, self.element.maximum)


def is_quantized(graph: Graph) -> bool:
    """Whether a model says itself how its activations are quantized."""
    return any(isinstance(node, ops.FakeQuantize) for node in graph.nodes)


def grid_of(node: ops.FakeQuantize, maker: Node | None, before: Grid | None = None) -> Grid | None:
    """Return the levels that a quantizer leaves, None where no element of the chip holds them.

    ``maker`` makes the value that is quantized: behind a ReLU, levels below 0 are never taken.
    A value that is on levels of ``before`` stays there where the quantizer changes nothing.
    """
    low, high = node.low, node.high
    same = before is not None and before.scale == node.scale
    if before is not None and same and low <= before.low and before.high <= high:
        return before
    if isinstance(maker, POSITIVE) or (isinstance(maker, ops.Clamp) and maker.low >= 0):
        low = max(low, 0)
    if low >= 0:
        width = next((w for w in _WIDTHS if unsigned(w).maximum >= high), None)
        return None if width is None else Grid(unsigned(width), node.scale, 0, high)
    byte = signed(8)
    inside = byte.minimum <= low and high <= byte.maximum
    return Grid(byte, node.scale, low, high) if inside else None


def check_quantized(
    graph: Graph, refused: Mapping[str, tuple[Diagnostic, ...]]
) -> dict[str, tuple[Diagnostic, ...]]:
    """Return what keeps each node off the chip: the target's reasons, and those said here."""
    return _Check(graph, refused).all()


class _Check:
    """Goes through a graph once, front to back."""

    def __init__(self, graph: Graph, refused: Mapping[str, tuple[Diagnostic, ...]]) -> None:
        self.graph = graph
        quantizers = {n.name for n in graph.nodes if isinstance(n, ops.FakeQuantize)}
        self.found = {name: why for name, why in refused.items() if name not in quantizers}
        self.makers = graph.producers()
        self.readers = graph.consumers()
        self.grids: dict[str, Grid] = {}
        self.inside: set[str] = set()
        """Activations that are part of a layer."""

    def all(self) -> dict[str, tuple[Diagnostic, ...]]:
        for node in self.graph.nodes:
            if isinstance(node, ops.FakeQuantize):
                self.quantizer(node)
            elif node.name not in self.found and node.name not in self.inside:
                why = next(self.reasons(node), None)
                if why is not None:
                    self.found[node.name] = (why,)
        return self.found

    def quantizer(self, node: ops.FakeQuantize) -> None:
        x = node.inputs[0]
        grid = grid_of(node, self.makers.get(x), self.grids.get(x))
        if grid is not None:
            self.grids[node.outputs[0]] = grid
            return
        zero = node.low not in {0, -(node.high + 1), -node.high}
        code, what = ("LB128", "a zero point") if zero else ("LB129", "more than 8 bits")
        self.found[node.name] = (
            error(
                code,
                f"{node.name} quantizes with {what}, which no level of the chip has",
                sources=node.sources,
                found=f"levels {node.low} to {node.high} around the one of 0",
                allowed="0 to 255, or -128 to 127, or fewer",
                hint="quantize activations symmetrically, or after a ReLU with zero point 0",
            ),
        )

    def reasons(self, node: Node) -> Iterator[Diagnostic]:
        """Yield why a node of the chip's kinds cannot be taken as it is."""
        data = [v for v in node.inputs if v and v not in self.graph.constants]
        loose = [v for v in data if v not in self.grids]
        if loose:
            yield error(
                "LB130",
                f"{node.name} reads a value that the model does not quantize",
                sources=node.sources,
                found=", ".join(loose),
                allowed="values behind a quantizer",
                hint="quantize the value in the model",
            )
            return
        if isinstance(node, WEIGHTED):
            yield from self.weights(node)
        if isinstance(node, KEEPS_LEVELS):
            self.grids[node.outputs[0]] = self.grids[data[0]]
        elif isinstance(node, ops.Concat):
            grids = {self.grids[v] for v in data}
            if len(grids) == 1:
                self.grids[node.outputs[0]] = grids.pop()
            elif self.quantized_next(node.outputs[0]) is None:
                yield self.open_end(node)
        elif not self.ends(node) and not isinstance(node, WEIGHTED):
            yield self.open_end(node)

    def weights(self, node: Node) -> Iterator[Diagnostic]:
        held = self.graph.constants.get(node.inputs[1])
        rows = None if held is None else channel_rows(node, np.asarray(held, np.float32))[0]
        if rows is None or recover_levels(rows) is None:
            yield error(
                "LB131",
                f"the weights of {node.name} lie on no grid of 8 bits or fewer",
                sources=node.sources,
                found="float weights, or a zero point",
                allowed="a scale for each output channel, and no zero point",
                hint="quantize the weights symmetrically, per tensor or per output channel",
            )

    def ends(self, node: Node) -> bool:
        """Whether the model puts what a node makes on levels, perhaps behind a clip."""
        if self.quantized_next(node.outputs[0]) is not None:
            return True
        after = self.graph.sole_consumer(node.outputs[0], self.readers)
        summing = isinstance(node, (*SUMMING, ops.Add))
        if not summing or not isinstance(after, CLIPS) or after.name in self.found:
            return False
        if self.quantized_next(after.outputs[0]) is None:
            return False
        self.inside.add(after.name)
        return True

    def quantized_next(self, value: str) -> Grid | None:
        after = self.graph.sole_consumer(value, self.readers)
        if not isinstance(after, ops.FakeQuantize):
            return None
        return grid_of(after, self.makers.get(value))

    def open_end(self, node: Node) -> Diagnostic:
        return error(
            "LB132",
            f"the model does not quantize what {node.name} makes",
            sources=node.sources,
            found=node.outputs[0],
            allowed="a quantizer as the only reader of the value",
            hint="quantize the value in the model",
        )
