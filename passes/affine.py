"""y = x · scale + shift with constants: what batch norms and loose Mul, Add, Sub and Div are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float64
    from lowbitc.compiler.ir.node import Node
    from lowbitc.passes.edit import Edit

_LEAST_RANK = 2
"""Axis 0 holds samples; an affine map needs another axis to vary along."""


@dataclass(frozen=True, slots=True)
class Affine:
    """A map y = x · scale + shift over a tensor of known rank, in float64.

    Both arrays have the tensor's rank; each dimension is the tensor's where the map varies along
    it, else 1; the first (samples) is always 1.
    """

    scale: Float64
    shift: Float64

    @property
    def rank(self) -> int:
        """Rank of the tensor it maps."""
        return self.scale.ndim

    @property
    def axes(self) -> frozenset[int]:
        """Axes along which the map varies."""
        shape = np.broadcast_shapes(self.scale.shape, self.shift.shape)
        return frozenset(axis for axis, size in enumerate(shape) if size > 1)

    @property
    def rises(self) -> bool:
        """Whether larger values stay larger everywhere."""
        return bool(np.all(self.scale > 0))

    @property
    def shifts(self) -> bool:
        """Whether zero is mapped to anything else."""
        return bool(np.any(self.shift != 0))

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return not self.shifts and bool(np.all(self.scale == 1))

    def then(self, after: Affine) -> Affine:
        """Return the map that does this one first and ``after`` second."""
        return tidied(self.scale * after.scale, self.shift * after.scale + after.shift)

    def along(self, axis: int, size: int) -> tuple[Float64, Float64] | None:
        """Return scale and shift as vectors over one axis, None if the map varies elsewhere."""
        if self.axes - {axis}:
            return None
        scale, shift = (np.reshape(a, -1) for a in (self.scale, self.shift))
        return np.broadcast_to(scale, (size,)), np.broadcast_to(shift, (size,))

    def without_shift(self) -> Affine:
        """Return the scale alone."""
        return Affine(self.scale, np.zeros((1,) * self.rank))


def tidied(scale: Float64, shift: Float64) -> Affine:
    """Make an Affine, each dimension along which an array is constant shrunk to 1."""
    return Affine(_shrunk(scale), _shrunk(shift))


def _shrunk(array: Float64) -> Float64:
    for axis, size in enumerate(array.shape):
        if size > 1:
            first = array.take([0], axis)
            if np.all(array == first):
                array = first
    return array


def over_channels(scale: Array, shift: Array, rank: int) -> Affine:
    """Make the map that scales and shifts along axis 1 of a tensor."""
    shape = (1, -1, *(1,) * (rank - 2))
    return tidied(
        np.reshape(np.asarray(scale, np.float64), shape),
        np.reshape(np.asarray(shift, np.float64), shape),
    )


@dataclass(frozen=True, slots=True)
class Mapping:
    """A node that maps ``value`` by ``affine``."""

    node: Node
    value: str
    affine: Affine


def read_mapping(edit: Edit, node: Node) -> Mapping | None:
    """Return what a node maps and how, None where it is no affine map by constants."""
    if edit.tensor(node.outputs[0]).element != F32:
        return None
    if isinstance(node, (ops.BatchNorm, ops.ScaleShift)):
        return _by_channel(edit, node)
    if isinstance(node, (ops.Add, ops.Mul, ops.Sub, ops.Div)):
        return _loose(edit, node)
    return None


def batch_norm_map(node: ops.BatchNorm, *parameters: Array) -> Float64:
    """Return scale and shift [2, C] of y = (x − mean) / √(variance + ε) · γ + β.

    ``parameters`` are γ, β, mean and variance, each [C].
    """
    gain, offset, mean, variance = (np.asarray(a, np.float64) for a in parameters)
    slope = gain / np.sqrt(variance + node.epsilon)
    return np.stack([slope, offset - mean * slope])


def _by_channel(edit: Edit, node: Node) -> Mapping | None:
    value, *names = node.inputs
    rank = len(edit.shape(value) or ())
    arrays = [a for a in map(edit.constant, names) if a is not None]
    if rank < _LEAST_RANK or len(arrays) != len(names):
        return None
    if isinstance(node, ops.BatchNorm):
        if np.any(arrays[3].astype(np.float64) + node.epsilon <= 0):
            return None
        arrays = list(batch_norm_map(node, *arrays))
    if not all(np.all(np.isfinite(a.astype(np.float64))) for a in arrays):
        return None
    return Mapping(node, value, over_channels(arrays[0], arrays[1], rank))


def _loose(edit: Edit, node: Node) -> Mapping | None:
    left, right = map(edit.constant, node.inputs)
    if (left is None) is (right is None):
        return None
    value, constant = (node.inputs[0], right) if left is None else (node.inputs[1], left)
    shape = edit.shape(value)
    if shape is None or constant is None or edit.shape(node.outputs[0]) != shape:
        return None
    held = _aligned(constant, shape)
    affine = None if held is None else _arithmetic(node, held, reversed_=left is not None)
    return None if affine is None else Mapping(node, value, affine)


def _arithmetic(node: Node, held: Float64, *, reversed_: bool) -> Affine | None:
    """Return what a node does to x with a constant; ``reversed_``: the constant comes first."""
    one, zero = np.ones((1,) * held.ndim), np.zeros((1,) * held.ndim)
    match node:
        case ops.Add():
            return tidied(one, held)
        case ops.Mul():
            return tidied(held, zero)
        case ops.Sub():
            return tidied(-one, held) if reversed_ else tidied(one, -held)
        case _:
            return None if reversed_ or np.any(held == 0) else tidied(1 / held, zero)


def _aligned(constant: Array, shape: tuple[int, ...]) -> Float64 | None:
    """Give a constant the tensor's rank, None where it varies over samples or is not finite."""
    if constant.ndim > len(shape) or len(shape) < _LEAST_RANK:
        return None
    held = np.asarray(constant, np.float64)
    held = np.reshape(held, (1,) * (len(shape) - constant.ndim) + constant.shape)
    pairs = list(zip(held.shape, shape, strict=True))
    fits = all(have in {1, want} for have, want in pairs) and pairs[0][0] == 1
    return held if fits and np.all(np.isfinite(held)) else None
