"""Quantize weights to levels, each output channel with its own scale.

Two ways: SAWB (statistics-aware weight binning, SysML 2019) from the weights' moments, at 2 and 4
bits; and the scale of least squared error. Odd levels compete with two's complement up to 4 bits,
and the smaller error wins.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.elements import odd, signed
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.first_layers import first_layers
from lowbitc.compiler.ir.graph import Graph, fresh_name
from lowbitc.compiler.ir.groups import WEIGHTED
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import LayerError, Measured, PassResult
from lowbitc.compiler.statistics import sawb
from lowbitc.compiler.statistics.sawb import SAWB_UP_TO_BITS
from lowbitc.compiler.statistics.weight_scales import WeightFit, fit_best_alphabet
from lowbitc.passes.chains import on_device

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.elements import Array, Float64
    from lowbitc.compiler.ir.node import Node

METHODS = ("mse", "sawb")


@dataclass(frozen=True, slots=True)
class BinWeights:
    """Replace the float weights of the chip's layers by levels with a scale a channel.

    Layers of one kind and width that read one weight constant share its levels. Weights that are
    levels already stay as they are.
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
        held: dict[tuple[object, ...], str] = {}
        errors: list[LayerError] = []
        for node in on_device(graph):
            if not isinstance(node, WEIGHTED) or graph.tensor(node.inputs[1]).levels is not None:
                continue
            width = self.bits.weight_bits(node, first=node.name in first)
            groups = node.groups if isinstance(node, ops.ConvTranspose) else 0
            key = (node.inputs[1], width, groups)
            if key in held:
                nodes[node.name] = _with_weights(node, held[key])
                continue
            weights = np.asarray(graph.constants[node.inputs[1]], np.float32)
            rows, restore = channel_rows(node, weights)
            fit = bin_rows(rows, width, self.method)
            power = float((rows * rows).sum())
            lost = float(((rows - fit.levels * fit.scales[:, np.newaxis]) ** 2).sum())
            errors.append(
                LayerError(node.name, Measured.WEIGHTS, width, lost / power if power else 0.0)
            )
            levels = restore(fit.levels)
            wanted = f"{node.inputs[1]}.levels"
            name = fresh_name(wanted, types)
            constants[name] = levels
            scales = tuple(float(s) for s in fit.scales)
            types[name] = TensorType(levels.shape, fit.levels_type, scales)
            held[key] = name
            nodes[node.name] = _with_weights(node, name)
        after = graph.replace(
            nodes=tuple(nodes.get(n.name, n) for n in graph.nodes), constants=constants, types=types
        ).pruned()
        return PassResult(after, changed=bool(nodes), errors=tuple(errors))


def bin_rows(rows: Float64, width: int, method: str) -> WeightFit:
    """Quantize weights [O, K], each row with its own scale, in the alphabet of smaller error."""
    if method == "sawb" and 1 < width <= SAWB_UP_TO_BITS:
        fits = [sawb.bin_weights(rows, levels) for levels in (signed(width), odd(width))]
        return min(fits, key=lambda fit: float(fit.errors.sum()))
    return fit_best_alphabet(rows, width)


def channel_rows(node: Node, weights: Array) -> tuple[Float64, Callable[[Array], Array]]:
    """Return weights as rows [O, K], and the function that puts rows back into the layout."""
    if not isinstance(node, ops.ConvTranspose):
        shape = weights.shape
        return weights.reshape(shape[0], -1).astype(np.float64), lambda rows: rows.reshape(shape)
    inward, per_group, *kernel = weights.shape
    groups = node.groups
    split = weights.reshape(groups, inward // groups, per_group, *kernel)
    moved = np.moveaxis(split, 2, 1)
    rows = moved.reshape(groups * per_group, -1).astype(np.float64)

    def restore(levels: Array) -> Array:
        back = np.moveaxis(levels.reshape(moved.shape), 1, 2)
        return np.ascontiguousarray(back.reshape(weights.shape))

    return rows, restore


def _with_weights(node: Node, name: str) -> Node:
    return dataclasses.replace(node, inputs=(node.inputs[0], name, *node.inputs[2:]))
