"""Move an affine map past a node: which map before it does what one behind it did, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.passes.affine import Affine, tidied

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.elements import Float64
    from lowbitc.compiler.ir.node import Node
    from lowbitc.passes.edit import Edit

    _Change = Callable[[Float64], Float64]

_CHANNELS = frozenset({1})


@dataclass(frozen=True, slots=True)
class Blocked:
    """An affine map cannot move exactly; why, as half a sentence about the node."""

    reason: str


def moved_before(edit: Edit, node: Node, affine: Affine) -> tuple[Affine, ...] | Blocked:
    """Return the maps of a node's operands that do together what ``affine`` does behind it."""
    moved: Affine | Blocked
    match node:
        case ops.Concat():
            return _parts(edit, node, affine)
        case ops.Add():
            left, right = map(edit.shape, node.inputs)
            alike = left is not None and left == right
            parts = (affine, affine.without_shift())
            return parts if alike else Blocked(f"{node.name} broadcasts")
        case ops.Transpose():
            inverse = [int(i) for i in np.argsort(node.perm)]
            moved = _each(affine, lambda a: a.transpose(inverse))
        case ops.Reshape():
            moved = _reshaped(edit, affine, node.outputs[0], node.inputs[0])
        case ops.Slice():
            cut = affine.axes.intersection(node.axes)
            moved = Blocked(f"{node.name} cuts where the map varies") if cut else affine
        case _:
            moved = _unmoved(node, affine)
    return moved if isinstance(moved, Blocked) else (moved,)


def moved_behind(edit: Edit, node: Node, value: str, affine: Affine) -> Affine | Blocked:
    """Return the map that does behind a node what ``affine`` does to ``value`` before it."""
    match node:
        case ops.Concat():
            return _joined(edit, node, value, affine)
        case ops.Transpose():
            return _each(affine, lambda a: a.transpose(node.perm))
        case ops.Reshape():
            return _reshaped(edit, affine, node.inputs[0], node.outputs[0])
        case ops.Slice():
            return _sliced(edit, node, affine)
        case _:
            return _unmoved(node, affine)


def _unmoved(node: Node, affine: Affine) -> Affine | Blocked:
    """Treat nodes that keep the layout: the map is the same on both sides, or cannot move."""
    match node:
        case ops.Relu() | ops.LeakyRelu():
            fits = affine.rises and not affine.shifts
            why = "is not linear, so only a positive scale can pass it"
        case ops.MaxPool() | ops.GlobalMaxPool():
            fits = affine.rises and affine.axes <= _CHANNELS
            why = "takes the maximum, so a scale that is not positive cannot pass it"
        case ops.AveragePool():
            even = not (any(node.pads) or node.ceil_mode) or not node.count_padding
            fits = affine.axes <= _CHANNELS and (even or not affine.shifts)
            why = "counts padding in its mean, so a shift cannot pass it"
        case ops.GlobalAveragePool():
            fits, why = affine.axes <= _CHANNELS, "averages where the map varies"
        case ops.Upsample():
            grown = {axis for axis, factor in enumerate(node.factors) if factor > 1}
            fits, why = not affine.axes & grown, "repeats where the map varies"
        case ops.Pad():
            rank = affine.rank
            grown = {a for a in range(rank) if node.pads[a] or node.pads[a + rank]}
            zero = not affine.shifts and node.value == 0
            fits = not affine.axes & grown and (node.mode != "constant" or zero)
            why = "pads with a constant, so a shift cannot pass it"
        case _:
            fits, why = False, "is no linear operator"
    return affine if fits else Blocked(f"{node.name} ({node.op}) {why}")


def _each(affine: Affine, change: _Change) -> Affine:
    return tidied(change(affine.scale), change(affine.shift))


def _reshaped(edit: Edit, affine: Affine, old: str, new: str) -> Affine | Blocked:
    before, after = edit.tensor(old), edit.tensor(new)
    if not before.known or not after.known or before.size == 0:
        return Blocked("the shapes around it are not known")
    rank = len(after.dims)
    if not affine.axes:
        return _each(affine, lambda a: np.reshape(a, (1,) * rank))
    if rank < 1 or before.dims[:1] != after.dims[:1]:
        return Blocked("a Reshape moves samples")
    sample = (1, *before.dims[1:])
    return _each(affine, lambda a: np.reshape(np.broadcast_to(a, sample), (1, *after.dims[1:])))


def _parts(edit: Edit, node: ops.Concat, affine: Affine) -> tuple[Affine, ...] | Blocked:
    if node.axis not in affine.axes:
        return (affine,) * len(node.inputs)
    sizes = [edit.tensor(v).dims[node.axis] for v in node.inputs]
    cuts = np.cumsum(sizes)[:-1].tolist()
    if node.axis == 0 or min(sizes) < 1:
        return Blocked(f"{node.name} joins samples")

    def cut(array: Float64) -> list[Float64]:
        shape = list(array.shape)
        shape[node.axis] = sum(sizes)
        return np.split(np.broadcast_to(array, shape), cuts, axis=node.axis)

    pairs = zip(cut(affine.scale), cut(affine.shift), strict=True)
    return tuple(tidied(scale, shift) for scale, shift in pairs)


def _joined(edit: Edit, node: ops.Concat, value: str, affine: Affine) -> Affine | Blocked:
    """Leave the other operands of a Concat as they are."""
    shapes = [edit.tensor(v) for v in node.inputs]
    if node.axis == 0 or not all(s.known for s in shapes):
        return Blocked(f"{node.name} joins samples, or tensors of unknown shape")

    def join(array: Float64, neutral: float) -> Float64:
        sizes = [s.dims[node.axis] for s in shapes]
        parts: list[Float64] = []
        for name, size in zip(node.inputs, sizes, strict=True):
            shape = list(array.shape)
            shape[node.axis] = size
            mapped = name == value
            parts.append(np.broadcast_to(array, shape) if mapped else np.full(shape, neutral))
        return np.concatenate(parts, axis=node.axis)

    return tidied(join(affine.scale, 1.0), join(affine.shift, 0.0))


def _sliced(edit: Edit, node: ops.Slice, affine: Affine) -> Affine | Blocked:
    shape = edit.tensor(node.inputs[0])
    if not shape.known:
        return Blocked(f"{node.name} cuts a tensor of unknown shape")
    window = [slice(None)] * affine.rank
    bounds = zip(node.axes, node.starts, node.ends, node.steps, strict=True)
    for axis, start, end, step in bounds:
        if step < 1:
            return Blocked(f"{node.name} runs backwards")
        window[axis] = slice(start, end, step)

    def cut(array: Float64) -> Float64:
        kept = [s if n > 1 else slice(None) for s, n in zip(window, array.shape, strict=True)]
        return array[tuple(kept)]

    return _each(affine, cut)
