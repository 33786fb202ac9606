"""Take an affine map into the weights and bias of the layer before or behind it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.passes.commute import Blocked

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64
    from lowbitc.passes.affine import Affine
    from lowbitc.passes.edit import Edit

    Weighted = ops.Conv | ops.ConvTranspose | ops.Dense


@dataclass(frozen=True, slots=True)
class Parameters:
    """Weights in the node's layout, and its bias [O]; float64 until they are stored."""

    weights: Float64
    bias: Float64


def channel_axis(edit: Edit, node: Weighted, value: str) -> int:
    """Return the axis of channels in a value that a layer reads or makes."""
    return len(edit.shape(value) or (0, 0)) - 1 if isinstance(node, ops.Dense) else 1


def scaled_output(edit: Edit, node: Weighted, affine: Affine) -> Parameters | Blocked:
    """Return parameters with which a layer does what it and ``affine`` behind it did."""
    held = _parameters(edit, node)
    if isinstance(held, Blocked):
        return held
    size = held.bias.shape[0]
    vectors = affine.along(channel_axis(edit, node, node.outputs[0]), size)
    if vectors is None:
        return Blocked(f"the map does not go by {node.name}'s output channels")
    scale, shift = vectors
    tail = (1,) * (held.weights.ndim - 2)
    if isinstance(node, ops.ConvTranspose):
        per_group = np.reshape(held.weights, (node.groups, -1, *held.weights.shape[1:]))
        scaled = per_group * np.reshape(scale, (node.groups, 1, -1, *tail))
        weights = np.reshape(scaled, held.weights.shape)
    else:
        weights = held.weights * np.reshape(scale, (-1, 1, *tail))
    return Parameters(weights, held.bias * scale + shift)


def scaled_input(edit: Edit, node: Weighted, affine: Affine) -> Parameters | Blocked:
    """Return parameters with which a layer does what ``affine`` and then it did.

    A shift goes into the bias only where no output sees the border: padding stays zero.
    """
    held = _parameters(edit, node)
    if isinstance(held, Blocked):
        return held
    weights, bias = held.weights, held.bias
    groups = 1 if isinstance(node, ops.Dense) else node.groups
    transposed = isinstance(node, ops.ConvTranspose)
    channels = weights.shape[0] if transposed else weights.shape[1] * groups
    vectors = affine.along(channel_axis(edit, node, node.inputs[0]), channels)
    if vectors is None:
        return Blocked(f"the map does not go by {node.name}'s input channels")
    scale, shift = vectors
    if affine.shifts and transposed:
        return Blocked(f"{node.name} adds up fewer inputs at some places than at others")
    if affine.shifts and isinstance(node, ops.Conv) and any(node.pads):
        return Blocked(f"{node.name} pads its input with zeros, which a shift would have to move")
    tail = (1,) * (weights.ndim - 2)
    if transposed:
        return Parameters(weights * np.reshape(scale, (-1, 1, *tail)), bias)
    per_group = np.reshape(weights, (groups, -1, *weights.shape[1:]))
    moved = per_group * np.reshape(shift, (groups, 1, -1, *tail))
    added = np.reshape(np.sum(moved, axis=tuple(range(2, moved.ndim))), -1)
    scaled = per_group * np.reshape(scale, (groups, 1, -1, *tail))
    return Parameters(np.reshape(scaled, weights.shape), bias + added)


def store(edit: Edit, node: Weighted, parameters: Parameters) -> Weighted:
    """Return the node with constants of its own that hold ``parameters``, as float32.

    A constant that would not change stays shared.
    """
    names = [_stored(edit, node.inputs[1], parameters.weights)]
    if _has_bias(node):
        names.append(_stored(edit, node.inputs[2], parameters.bias))
    elif np.any(parameters.bias != 0):
        bias = parameters.bias.astype(np.float32)
        names.append(edit.add_constant(f"{node.name}.bias", bias))
    return dataclasses.replace(node, inputs=(node.inputs[0], *names))


def _stored(edit: Edit, name: str, wide: Float64) -> str:
    array = wide.astype(np.float32)
    held = edit.constant(name)
    same = held is not None and held.dtype == array.dtype and np.array_equal(held, array)
    return name if same else edit.add_constant(name, array)


def output_ranges(edit: Edit, node: Weighted) -> Float64 | None:
    """Return the largest absolute weight of each output channel, None if computed at run time."""
    weights = edit.constant(node.inputs[1])
    if weights is None:
        return None
    sizes = np.abs(np.asarray(weights, np.float32))
    if isinstance(node, ops.ConvTranspose):
        sizes = np.reshape(sizes, (node.groups, -1, *sizes.shape[1:]))
        largest = np.max(sizes, axis=(1, *range(3, sizes.ndim)))
    else:
        largest = np.max(sizes, axis=tuple(range(1, sizes.ndim)))
    return np.reshape(np.asarray(largest, np.float64), -1)


def _has_bias(node: Weighted) -> bool:
    return len(node.inputs) > 2 and bool(node.inputs[2])  # noqa: PLR2004 - x, w, b


def _parameters(edit: Edit, node: Weighted) -> Parameters | Blocked:
    weights = edit.constant(node.inputs[1])
    if weights is None:
        return Blocked(f"{node.name} computes its weights at run time")
    held = np.asarray(weights, np.float64)
    outputs = held.shape[0]
    if isinstance(node, ops.ConvTranspose):
        outputs = held.shape[1] * node.groups
    if not _has_bias(node):
        return Parameters(held, np.zeros((outputs,), np.float64))
    bias = edit.constant(node.inputs[2])
    if bias is None:
        return Blocked(f"{node.name} computes its bias at run time")
    return Parameters(held, np.asarray(bias, np.float64))
