"""Fold bias, batch norm, scales and clip of a layer into the constants of its output stage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from lowbitc.compiler.diagnostics import Diagnostic, Source, error
from lowbitc.compiler.elements import I32, Int64, LevelType
from lowbitc.compiler.ir import ops, quantized
from lowbitc.compiler.ir.types import Clip, TensorType, ValueType
from lowbitc.compiler.numerics.multipliers import choose_requantizer, choose_thresholds
from lowbitc.compiler.numerics.pool_divisors import pool_divisor
from lowbitc.compiler.numerics.spec import ACCUMULATOR_MAX, sum_bounds
from lowbitc.passes.bin_weights import channel_rows
from lowbitc.passes.chains import Chain, channels_of, clip_bounds
from lowbitc.passes.tabulate import activation_table

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

THRESHOLD_BITS = 4
BIAS_MAX = ACCUMULATOR_MAX // 2
BIAS_FINE = 1 << 20


@dataclass(frozen=True, slots=True)
class BuiltStage:
    """An output stage and the names of its constants; ``scale`` is that of sums that leave."""

    stage: quantized.Stage
    constants: tuple[str, ...]
    scale: tuple[float, ...] = ()
    middle: LevelType | None = None


class _Staged(TypedDict):
    """The fields that all staged nodes share."""

    name: str
    outputs: tuple[str, ...]
    sources: tuple[Source, ...]
    stage: quantized.Stage
    table: bool
    middle: LevelType | None


class StageBuilder:
    """Builds output stages; writes their constants and types into the given dictionaries."""

    def __init__(
        self, graph: Graph, constants: dict[str, Array], types: dict[str, ValueType]
    ) -> None:
        """Read from ``graph``; ``findings`` collects what is wrong."""
        self.graph = graph
        self.constants = constants
        self.types = types
        self.findings: list[Diagnostic] = []

    def sums(self, chain: Chain, source: Clip) -> BuiltStage:
        """Build the stage of a layer whose sums leave the chip: a bias in units of the sum."""
        unit, bias, bounds = self._affine(chain, source)
        unit = _holding(unit, bias, bounds)
        whole = np.clip(np.rint(bias / unit), -BIAS_MAX, BIAS_MAX).astype(np.int32)
        name = self._constant(chain, "bias", whole)
        scale = tuple(float(np.float32(u)) for u in unit)
        return BuiltStage(quantized.Stage.ACCUMULATOR, (name,), scale)

    def levels(self, chain: Chain, source: Clip) -> BuiltStage:
        """Build the stage that gives the layer's levels, with a table where it needs one."""
        graph, table = self.graph, chain.table
        middle = graph.clips[chain.compute.outputs[0] if table else chain.output]
        unit, bias, bounds = self._affine(chain, source)
        channels = unit.size
        low, high = clip_bounds(graph, None if table else chain.activation, channels)
        if chain.shift is not None:
            scale, shift = (
                np.asarray(graph.constants[v], np.float64).reshape(-1)
                for v in chain.shift.inputs[1:]
            )
            unit, bias = unit * scale, bias * scale + shift
            low, high = low * scale + shift, high * scale + shift
        bias = bias + middle.zero * middle.scale
        element = middle.element
        least = np.clip(_round(low / middle.scale), element.minimum, element.maximum)
        most = np.clip(_round(high / middle.scale), element.minimum, element.maximum)
        unit = _holding(unit, bias, bounds)
        ratio, offset = unit / middle.scale, bias / unit
        if element.bits <= THRESHOLD_BITS:
            rows = choose_thresholds(ratio, offset, least, most, element)
            name = self._constant(chain, "thresholds", rows)
            return BuiltStage(quantized.Stage.THRESHOLDS, (name,))
        chosen = choose_requantizer(
            ratio, offset, least.astype(np.int64), most.astype(np.int64), element, bounds
        )
        names = [
            self._constant(chain, part, np.asarray(getattr(chosen, part)))
            for part in ("bias", "multiplier", "shift", "low", "high")
        ]
        if table is not None:
            target = graph.clips[chain.output]
            values = activation_table(graph, table, middle, target)
            names.append(self._constant(chain, "table", values, target.element))
        return BuiltStage(
            quantized.Stage.REQUANTIZE,
            tuple(names),
            middle=element if table is not None else None,
        )

    def node(self, chain: Chain, x: str, y: str, built: BuiltStage) -> Node:
        """Return the integer node of a layer."""
        compute = chain.compute
        rest = _Staged(
            name=compute.name,
            outputs=(y,),
            sources=chain.sources,
            stage=built.stage,
            table=built.middle is not None,
            middle=built.middle,
        )
        if isinstance(compute, (ops.AveragePool, ops.GlobalAveragePool)):
            kernel, stride, pads = _window(self.graph, compute)
            return quantized.QAveragePool(
                inputs=(x, *built.constants),
                kernel=kernel,
                stride=stride,
                pads=pads,
                count_padding=not any(pads) or _counts_padding(compute),
                **rest,
            )
        inputs = (x, compute.inputs[1], *built.constants)
        if isinstance(compute, ops.Conv):
            return quantized.QConv(
                inputs=inputs,
                kernel=compute.kernel,
                stride=compute.stride,
                dilation=compute.dilation,
                pads=compute.pads,
                groups=compute.groups,
                **rest,
            )
        if isinstance(compute, ops.ConvTranspose):
            return quantized.QConvTranspose(
                inputs=inputs,
                kernel=compute.kernel,
                stride=compute.stride,
                dilation=compute.dilation,
                pads=compute.pads,
                output_padding=compute.output_padding,
                groups=compute.groups,
                **rest,
            )
        return quantized.QDense(inputs=inputs, **rest)

    def _affine(self, chain: Chain, source: Clip) -> tuple[Float64, Float64, tuple[Int64, Int64]]:
        """Return, by channel, the value of one unit of the sum, the bias, and the sums' bounds."""
        compute = chain.compute
        channels = channels_of(self.graph, compute)
        if isinstance(compute, (ops.AveragePool, ops.GlobalAveragePool)):
            divisor = _divisor(self.graph, compute)
            unit = np.full(channels, source.scale / divisor)
            # The largest sum is that of a window of one level throughout.
            bounds = sum_bounds(np.full((channels, 1), divisor, np.int64), source.element)
        else:
            levels = self.constants[compute.inputs[1]]
            held = self.graph.tensor(compute.inputs[1])
            unit = np.asarray(held.scale, np.float64) * source.scale
            rows, _ = channel_rows(compute, levels)
            bounds = sum_bounds(rows.astype(np.int64), source.element)
        bias = np.zeros(channels)
        if not isinstance(compute, (ops.AveragePool, ops.GlobalAveragePool)):
            for name in compute.inputs[2:]:
                bias = np.asarray(self.graph.constants[name], np.float64).reshape(-1)
        self._bound(chain, bounds)
        return unit, bias, bounds

    def _bound(self, chain: Chain, bounds: tuple[Int64, Int64]) -> None:
        reach = int(max(-bounds[0].min(), bounds[1].max()))
        if reach > ACCUMULATOR_MAX // 2:
            self.findings.append(
                error(
                    "LB403",
                    f"the sums of {chain.compute.name} could overflow 32 bits",
                    sources=chain.sources,
                    found=f"sums up to {reach}",
                    allowed=f"at most {ACCUMULATOR_MAX // 2}",
                    hint="give the layer fewer weight bits in lowbitc.toml, or split its inputs",
                )
            )

    def _constant(
        self, chain: Chain, part: str, array: Array, element: LevelType | None = None
    ) -> str:
        name = f"{chain.compute.name}.{part}"
        self.constants[name] = array
        self.types[name] = TensorType(array.shape, element or I32)
        return name


def _round(values: Float64) -> Float64:
    return np.floor(values + 0.5)


def _window(
    graph: Graph, node: ops.AveragePool | ops.GlobalAveragePool
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    if isinstance(node, ops.AveragePool):
        return node.kernel, node.stride, node.pads
    kernel = graph.shape(node.inputs[0])[2:]
    return kernel, (1,) * len(kernel), (0,) * (2 * len(kernel))


def _counts_padding(node: ops.AveragePool | ops.GlobalAveragePool) -> bool:
    return isinstance(node, ops.AveragePool) and node.count_padding


def _divisor(graph: Graph, node: ops.AveragePool | ops.GlobalAveragePool) -> int:
    size = graph.shape(node.inputs[0])[2:]
    if isinstance(node, ops.GlobalAveragePool):
        return math.prod(size)
    return pool_divisor(node, size, graph.shape(node.outputs[0])[2:])


def _holding(unit: Float64, bias: Float64, bounds: tuple[Int64, Int64]) -> Float64:
    """Return units of sums in which the bias fits, and is told from its neighbours.

    A channel of zeros has a tiny scale in an alphabet without 0. Its bias, which is all that
    counts there, would not fit; in larger units the sums still come to next to nothing. Where all
    levels are 0 any unit does, so it is one in which the bias is exact enough.
    """
    empty = (bounds[0] == 0) & (bounds[1] == 0) & (bias != 0)
    return np.where(empty, np.abs(bias) / BIAS_FINE, np.maximum(unit, np.abs(bias) / BIAS_MAX))
