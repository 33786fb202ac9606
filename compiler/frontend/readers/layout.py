"""Read what moves elements: Concat, Reshape, Flatten, Squeeze, Unsqueeze, Transpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.frontend.reading import Host, reader
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.frontend.reading import Reading
    from lowbitc.compiler.ir.node import Node

_ALLOW_ZERO = 14
_LAYOUTS = (21, 23, 24, 25)
"""Versions that only added element types."""


@reader("Concat", 4, 11, 13)
def read_concat(reading: Reading) -> Node | Host:
    """Read a Concat."""
    if not all(reading.inputs):
        return Host("one of its inputs is absent")
    return ops.Concat(**reading.fields(len(reading.inputs)), axis=reading.axis(1))


@reader("Reshape", 5, 13, _ALLOW_ZERO, 19, *_LAYOUTS)
def read_reshape(reading: Reading) -> Node | Host:
    """Read a Reshape; where it keeps dimension 0, that is 0 and the others are numbers.

    So the shape holds for any number of samples, however the user spelled it.
    """
    shape = reading.integers(1)
    if shape is None:
        return Host("its shape is computed at run time")
    before, after = reading.shape(), reading.made()
    if before[:1] and before[:1] == after[:1]:
        shape = (0, *after[1:])
    elif 0 in shape:
        shape = after
    return ops.Reshape(**reading.fields(), shape=shape)


@reader("Flatten", 1, 9, 11, 13, *_LAYOUTS)
def read_flatten(reading: Reading) -> Node | Host:
    """Read a Flatten."""
    return ops.Flatten(**reading.fields(), axis=reading.axis(1))


@reader("Squeeze", 1, 11, 13, *_LAYOUTS)
def read_squeeze(reading: Reading) -> Node | Host:
    """Read a Squeeze; no axes are all dimensions of size 1."""
    shape = reading.shape()
    axes = _axes(reading)
    if axes is None:
        if reading.has(1):
            return Host("its axes are computed at run time")
        axes = tuple(axis for axis, size in enumerate(shape) if size == 1)
    rank = len(shape)
    return ops.Squeeze(**reading.fields(), axes=tuple(sorted({axis % rank for axis in axes})))


@reader("Unsqueeze", 1, 11, 13, *_LAYOUTS)
def read_unsqueeze(reading: Reading) -> Node | Host:
    """Read an Unsqueeze."""
    axes = _axes(reading)
    if axes is None:
        return Host("its axes are computed at run time")
    rank = len(reading.made())
    return ops.Unsqueeze(**reading.fields(), axes=tuple(sorted({axis % rank for axis in axes})))


def _axes(reading: Reading) -> tuple[int, ...] | None:
    """Return the axes: an attribute before opset 13, an input since."""
    return reading.integers(1) if reading.has(1) else reading.attributes.integers("axes")


@reader("Transpose", 1, 13, *_LAYOUTS)
def read_transpose(reading: Reading) -> Node | Host:
    """Read a Transpose; no permutation reverses the dimensions."""
    rank = len(reading.shape())
    perm = reading.attributes.integers("perm")
    return ops.Transpose(
        **reading.fields(), perm=tuple(range(rank))[::-1] if perm is None else perm
    )
