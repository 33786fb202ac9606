"""A layer in training: float weights that are rounded at each step, and its output stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.first_layers import first_layers
from lowbitc.compiler.ir.groups import WEIGHTED
from lowbitc.compiler.statistics.weight_scales import WeightFit, fit_best_alphabet
from lowbitc.passes.bin_weights import channel_rows
from lowbitc.passes.chains import channels_of, clip_bounds
from lowbitc.passes.fuse_output_stage import BIAS_FINE, BIAS_MAX, THRESHOLD_BITS
from lowbitc.passes.plan_levels import leaves_as_sums
from lowbitc.training.arithmetic import Arithmetic
from lowbitc.training.gradients import GradientFormat
from lowbitc.training.normalize import Normalization
from lowbitc.training.operators import geometry_of, sum_levels
from lowbitc.training.output_stage import Stage
from lowbitc.training.products import multiply
from lowbitc.training.quantizers import WeightQuantizer

if TYPE_CHECKING:
    from lowbitc.compiler.bits import Bits
    from lowbitc.compiler.elements import Float32, Float64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import Clip
    from lowbitc.passes.chains import Chain
    from lowbitc.training.geometry import Geometry
    from lowbitc.training.quantizers import WeightMethod


class Layer(nn.Module):
    """A node that accumulates, its output stage, and what of it is learned.

    ``weights`` are rows [O, K], in units of their first scales, that are rounded at each step; the
    bias moves in units of what one level of a weight does at full input. So steps of one size suit
    channels of all sizes, which folded batch norms leave far apart.
    """

    quantizer: WeightQuantizer
    weights: nn.Parameter
    bias_steps: nn.Parameter
    bias_first: Tensor
    bias_unit: Tensor
    low: Tensor | None
    high: Tensor | None
    gain: Tensor
    offset: Tensor
    normalization: Normalization | None
    geometry: Geometry
    gradients: GradientFormat

    def __init__(self, graph: Graph, chain: Chain, bits: Bits, method: WeightMethod) -> None:
        """Take weights and bias from a calibrated graph, float or rounded."""
        super().__init__()
        self.graph, self.chain = graph, chain
        compute = chain.compute
        self.channels = channels_of(graph, compute)
        self.sums_leave = leaves_as_sums(graph, chain)
        self.weighted = isinstance(compute, WEIGHTED)
        middle = graph.clips.get(compute.outputs[0] if chain.table else chain.output)
        self.thresholds = middle is not None and middle.element.bits <= THRESHOLD_BITS
        if self.weighted:
            rows, fit = _start(graph, compute, bits)
            self.quantizer = WeightQuantizer(fit.levels_type, fit.scales, method)
            first = self.quantizer.first
            self.weights = nn.Parameter((torch.as_tensor(rows) / first).float())
            source = graph.clips[compute.inputs[0]]
            self.register_buffer(
                "bias_unit", first.reshape(-1) * source.scale * source.element.maximum
            )
            self.register_buffer(
                "bias_first", torch.as_tensor(_bias(graph, compute, self.channels))
            )
            self.bias_steps = nn.Parameter(torch.zeros(self.channels))
            self.normalization = None if self.sums_leave else Normalization(self.channels)
            self.geometry = geometry_of(compute)
            self.gradients = GradientFormat(Arithmetic.FLOAT)
        self._keep_ends(middle)
        if chain.shift is not None:
            for name, value in zip(("gain", "offset"), chain.shift.inputs[1:], strict=True):
                constant = np.asarray(graph.constants[value], np.float64).reshape(-1)
                self.register_buffer(name, torch.as_tensor(constant))

    def _keep_ends(self, clip: Clip | None) -> None:
        """Keep the ends of the activation, where it bounds something that the levels do not."""
        chain = self.chain
        activation = None if chain.table else chain.activation
        low, high = clip_bounds(self.graph, activation, self.channels)
        unsigned = clip is not None and clip.element.minimum >= clip.zero
        redundant = unsigned and chain.shift is None and not low.any()
        bounds = not redundant and not np.isneginf(low).all()
        self.register_buffer("low", torch.as_tensor(low) if bounds else None)
        self.register_buffer("high", None if np.isposinf(high).all() else torch.as_tensor(high))

    def real(self, levels: Tensor, scale: Tensor) -> Tensor:
        """Return what a layer whose sums leave the chip puts out, of levels and their scale."""
        stage = self.stage(levels, scale)
        ((sums, unit),) = stage.terms
        return sums * unit + stage.bias

    def stage(self, levels: Tensor, scale: Tensor, *, moved: Tensor | None = None) -> Stage:
        """Return what the layer's output stage rounds, of levels and their scale.

        ``moved`` is added behind the clip: where a table's index has its zero.
        """
        compute = self.chain.compute
        if self.weighted:
            weights, steps = self.quantizer.levels(self.weights)
            sums = multiply(self.geometry, levels, self.layout(weights), self.gradients)
            unit, bias = steps * scale, self.bias()
            if self.normalization is not None:
                axis = -1 if isinstance(compute, ops.Dense) else 1
                unit, bias = self.normalization(sums, unit, bias, axis)
            empty = (weights == 0).all(dim=1)
        else:
            sums = sum_levels(compute, levels)
            unit = scale / _window_size(self.graph, compute)
            bias = torch.zeros_like(unit)
            empty = torch.zeros_like(unit, dtype=torch.bool)
        ends = [None if e is None else e.to(sums.dtype) for e in (self.low, self.high)]
        if self.chain.shift is not None:
            gain, offset = self.gain.to(sums.dtype), self.offset.to(sums.dtype)
            unit, bias = unit * gain, bias * gain + offset
            ends = [None if e is None else e * gain + offset for e in ends]
        if moved is not None:
            bias = bias + moved
        size = bias.detach().abs()
        unit = torch.maximum(unit, size / BIAS_MAX)
        unit = torch.where(empty & (size > 0), size / BIAS_FINE, unit)
        if not self.thresholds:
            # Requantizers and sums that leave hold the bias in whole units of the sum.
            whole = bias / unit
            bias = bias + ((torch.round(whole) - whole) * unit).detach()
        low, high = (None if e is None else self.along(e, sums) for e in ends)
        return Stage(((sums, self.along(unit, sums)),), self.along(bias, sums), low, high)

    def bias(self) -> Tensor:
        """Return the bias of each channel."""
        unit = self.bias_unit.to(self.bias_steps.dtype)
        return self.bias_first.to(unit.dtype) + self.bias_steps * unit

    def begin_norm(self, scale: Tensor) -> None:
        """Let batches norm the sums, as they were seen to be, of inputs at a scale."""
        with torch.no_grad():
            assert self.normalization is not None  # noqa: S101 - a layer whose sums do not leave
            _, steps = self.quantizer.levels(self.weights)
            grown = self.normalization.begin(steps * scale)
            if grown is not None:
                self.bias_first += grown

    def fold_norm(self, scale: Tensor) -> None:
        """Put into scales and biases what normed the sums; levels stay."""
        with torch.no_grad():
            assert self.normalization is not None  # noqa: S101 - likewise
            found = self.normalization.end(self.bias())
            if found is None:
                return
            unit, bias = found
            _, steps = self.quantizer.levels(self.weights)
            self.quantizer.first *= (unit / (steps * scale)).reshape(-1, 1).to(torch.float64)
            self.bias_first.copy_(bias)
            self.bias_steps.zero_()

    def layout(self, rows: Tensor) -> Tensor:
        """Return rows [O, K] in the layout of the node's weights."""
        compute = self.chain.compute
        shape = self.graph.shape(compute.inputs[1])
        if not isinstance(compute, ops.ConvTranspose):
            return rows.reshape(shape)
        inward, per_group, *kernel = shape
        parts = rows.reshape(compute.groups, per_group, inward // compute.groups, *kernel)
        return parts.transpose(1, 2).reshape(shape)

    def along(self, values: Tensor, y: Tensor) -> Tensor:
        """Return values of channels so that they broadcast over an output."""
        if values.ndim == 0 or isinstance(self.chain.compute, ops.Dense):
            return values
        return values.reshape(-1, *(1,) * (y.ndim - 2))


def _start(graph: Graph, compute: Node, bits: Bits) -> tuple[Float64, WeightFit]:
    """Return real weights [O, K] and the levels and scales to start from.

    Weights that are levels already stay at their places; else the alphabet and the scales are
    those of the smallest squared error.
    """
    name = compute.inputs[1]
    held = graph.tensor(name)
    rows, _ = channel_rows(compute, np.asarray(graph.constants[name]))
    if held.levels is None:
        width = bits.weight_bits(compute, first=compute.name in first_layers(graph))
        return rows, fit_best_alphabet(rows, width)
    scales = np.asarray(held.scale, np.float64)
    fit = WeightFit(held.levels, scales, rows.astype(np.int8), np.zeros(len(rows)))
    return rows * scales[:, np.newaxis], fit


def _bias(graph: Graph, compute: Node, channels: int) -> Float32:
    for name in compute.inputs[2:]:
        if name:
            return np.asarray(graph.constants[name], np.float32).reshape(-1).copy()
    return np.zeros(channels, np.float32)


def _window_size(graph: Graph, compute: Node) -> int:
    if isinstance(compute, ops.AveragePool):
        return int(np.prod(compute.kernel))
    return int(np.prod(graph.shape(compute.inputs[0])[2:]))
