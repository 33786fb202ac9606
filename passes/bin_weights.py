"""Quantize weights to levels, each output channel with its own scale.

Two ways: SAWB (statistics-aware weight binning, SysML 2019) from the weights' moments, at 2 and 4
bits; and the scale of least squared error. At 1 and 2 bits the odd levels compete with two's
complement, and the smaller error wins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.elements import LevelType, odd, signed
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, fresh_name
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassResult
from lowbitc.compiler.statistics.sawb import bin_sawb
from lowbitc.compiler.statistics.weight_scales import WeightLevels, mse_weight_levels
from lowbitc.passes.chains import WEIGHTED, first_layers, on_device

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float64, Int8
    from lowbitc.compiler.ir.node import Node

METHODS = ("mse", "sawb")
_SAWB_WIDTHS = (2, 4)
_ODD_WIDTHS = (1, 2)


@dataclass(frozen=True, slots=True)
class BinWeights:
    """Replace the float weights of the chip's layers by levels with a scale a channel.

    A weight constant that several layers read is quantized once for each.
    """

    name: ClassVar[str] = "bin-weights"
    bits: Bits = Bits()
    method: str = "mse"

    def run(self, graph: Graph) -> PassResult:
        """Return the graph whose weight constants hold int8 levels."""
        first = first_layers(graph)
        constants = dict(graph.constants)
        types = dict(graph.types)
        nodes: dict[str, Node] = {}
        for node in on_device(graph):
            if not isinstance(node, WEIGHTED):
                continue
            weights = np.asarray(graph.constants[node.inputs[1]], np.float32)
            width = self.bits.weight_bits(node, first=node.name in first)
            levels, scale, element = self._bin(node, weights, width)
            wanted = f"{node.inputs[1]}.levels"
            name = fresh_name(wanted, types)
            constants[name] = levels
            types[name] = TensorType(levels.shape, element, tuple(float(s) for s in scale))
            nodes[node.name] = _with_weights(node, name)
        after = graph.replace(
            nodes=tuple(nodes.get(n.name, n) for n in graph.nodes), constants=constants, types=types
        ).pruned()
        return PassResult(after, changed=bool(nodes))

    def _bin(self, node: Node, weights: Array, width: int) -> tuple[Int8, Float64, LevelType]:
        rows, restore = channel_rows(node, weights)
        chosen, element = bin_rows(rows, width, self.method)
        return restore(chosen.levels), chosen.scale, element


def bin_rows(rows: Float64, width: int, method: str) -> tuple[WeightLevels, LevelType]:
    """Quantize weights [O, K], each row with its scale; return them and their alphabet."""
    candidates = [signed(width)] if width not in _ODD_WIDTHS else [odd(width)]
    if width in _ODD_WIDTHS and width > 1:
        candidates.append(signed(width))
    scored = []
    for element in candidates:
        if method == "sawb" and width in _SAWB_WIDTHS:
            found = bin_sawb(rows, element)
        else:
            found = mse_weight_levels(rows, element)
        scored.append((float(found.error.sum()), element.name, found, element))
    _, _, best, element = min(scored, key=lambda entry: entry[:2])
    return best, element


def channel_rows(
    node: Node, weights: Array
) -> tuple[Float64, Callable[[Int8], Int8]]:
    """Return weights as rows [O, K], and the function that puts rows back into the layout."""
    if not isinstance(node, ops.ConvTranspose):
        shape = weights.shape
        return weights.reshape(shape[0], -1).astype(np.float64), lambda rows: rows.reshape(shape)
    inward, per_group, *kernel = weights.shape
    groups = node.groups
    split = weights.reshape(groups, inward // groups, per_group, *kernel)
    moved = np.moveaxis(split, 2, 1)
    rows = moved.reshape(groups * per_group, -1).astype(np.float64)

    def restore(levels: Int8) -> Int8:
        back = np.moveaxis(levels.reshape(moved.shape), 1, 2)
        return np.ascontiguousarray(back.reshape(weights.shape))

    return rows, restore


def _with_weights(node: Node, name: str) -> Node:
    return dataclasses.replace(node, inputs=(node.inputs[0], name, *node.inputs[2:]))
