"""Estimate every activation's mean and deviation by channel, without data.

Where batch normalisation made a value, its own statistics say it: mean β, deviation |γ| (as in
data-free quantization, arXiv 1906.04721). Elsewhere moments are pushed forward: through a layer,
mean' = Σ w · mean + b and var' = Σ w² · var, as if inputs were independent; through an activation,
by the quantiles of a Gaussian.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.groups import CLIPS, TABLES
from lowbitc.passes.bin_weights import channel_rows
from lowbitc.passes.chains import clip_bounds
from lowbitc.passes.tabulate import activation_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Float64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

QUANTILES = 255
_POINTS = np.array([NormalDist().inv_cdf((i + 0.5) / QUANTILES) for i in range(QUANTILES)])


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and deviation by channel, [C] or [1]."""

    mean: Float64
    deviation: Float64

    def points(self) -> Float64:
        """Return the quantiles of each channel's Gaussian, [C, QUANTILES]."""
        return np.asarray(self.mean[:, None] + self.deviation[:, None] * _POINTS)


def batchnorm_moments(imported: Graph) -> dict[str, Moments]:
    """Return the moments of every value that a batch normalisation makes."""
    found: dict[str, Moments] = {}
    for node in imported.nodes:
        if isinstance(node, ops.BatchNorm) and all(
            v in imported.constants for v in node.inputs[1:]
        ):
            gamma, beta = (np.asarray(imported.constants[v], np.float64) for v in node.inputs[1:3])
            found[node.outputs[0]] = Moments(beta, np.abs(gamma))
    return found


def propagate(graph: Graph, known: Mapping[str, Moments]) -> dict[str, Moments]:
    """Return moments for every value of a folded graph; inputs without any are N(0, 1)."""
    moments: dict[str, Moments] = {v: _standard() for v in graph.inputs}
    for value, constant in graph.constants.items():
        held = np.asarray(constant)
        if held.dtype.kind == "f" and held.size:
            moments[value] = Moments(np.array([float(held.mean())]), np.array([float(held.std())]))
    for node in graph.nodes:
        for value in node.outputs:
            moments[value] = known.get(value) or _through(graph, node, moments)
    return moments


def _standard() -> Moments:
    return Moments(np.zeros(1), np.ones(1))


def _through(graph: Graph, node: Node, moments: Mapping[str, Moments]) -> Moments:
    inputs = [moments.get(v, _standard()) for v in node.inputs if v]
    if isinstance(node, (ops.Conv, ops.ConvTranspose, ops.Dense)):
        return _layer(graph, node, inputs[0])
    if isinstance(node, ops.ScaleShift):
        scale, shift = (
            np.asarray(graph.constants[v], np.float64).reshape(-1) for v in node.inputs[1:]
        )
        return Moments(inputs[0].mean * scale + shift, inputs[0].deviation * np.abs(scale))
    if isinstance(node, (*CLIPS, *TABLES)):
        points = inputs[0].points()
        if isinstance(node, ops.Bound):
            low, high = clip_bounds(graph, node, len(points))
            after = np.clip(points, low.reshape(-1, 1), high.reshape(-1, 1))
        else:
            after = activation_values(graph, node, points)
        return Moments(after.mean(axis=1), after.std(axis=1))
    if isinstance(node, ops.Add):
        a, b = inputs
        return Moments(a.mean + b.mean, np.hypot(a.deviation, b.deviation))
    if isinstance(node, ops.Concat) and node.axis == 1:
        return _joined(graph, node, inputs)
    if inputs and _channels(graph, node.inputs[0]) == _channels(graph, node.outputs[0]):
        return inputs[0]
    return _pooled(inputs[0]) if inputs else _standard()


def _channels(graph: Graph, value: str) -> int:
    shape = graph.shape(value)
    return shape[1] if len(shape) > 1 else 1


def _joined(graph: Graph, node: Node, inputs: list[Moments]) -> Moments:
    widths = [_channels(graph, v) for v in node.inputs]
    return Moments(
        np.concatenate([np.broadcast_to(m.mean, w) for m, w in zip(inputs, widths, strict=True)]),
        np.concatenate(
            [np.broadcast_to(m.deviation, w) for m, w in zip(inputs, widths, strict=True)]
        ),
    )


def _pooled(moments: Moments) -> Moments:
    """Forget channels: the moments of all of them together."""
    mean = float(moments.mean.mean())
    square = float(np.mean(moments.mean**2 + moments.deviation**2))
    return Moments(np.array([mean]), np.array([max(square - mean**2, 0.0) ** 0.5]))


def _layer(graph: Graph, node: Node, source: Moments) -> Moments:
    rows, _ = channel_rows(node, graph.constants[node.inputs[1]])
    groups = getattr(node, "groups", 1)
    per_group = _inputs_of(graph, node) // groups
    taps = rows.shape[1] // per_group
    channels = per_group * groups
    mean = np.broadcast_to(source.mean, channels) if source.mean.size in {1, channels} else None
    if mean is None:
        flat = _pooled(source)
        mean, deviation = np.full(channels, flat.mean[0]), np.full(channels, flat.deviation[0])
    else:
        deviation = np.broadcast_to(source.deviation, channels)
    per_out = rows.shape[0] // groups
    group_of = np.repeat(np.arange(groups), per_out)
    w = rows.reshape(rows.shape[0], per_group, taps)
    means = mean.reshape(groups, per_group)[group_of]
    variances = (deviation**2).reshape(groups, per_group)[group_of]
    out = np.einsum("oit,oi->o", w, means)
    spread = np.einsum("oit,oi->o", w**2, variances)
    for bias in node.inputs[2:]:
        out = out + np.asarray(graph.constants[bias], np.float64).reshape(-1)
    return Moments(out, np.sqrt(spread))


def _inputs_of(graph: Graph, node: Node) -> int:
    shape = graph.shape(node.inputs[0])
    return shape[-1] if isinstance(node, ops.Dense) else shape[1]
