"""Find values that are never negative."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.passes.edit import Edit

_ABOVE = (ops.Relu, ops.Sigmoid, ops.HardSigmoid, ops.Softplus, ops.Softmax)
_KEEPS = (
    ops.MaxPool,
    ops.AveragePool,
    ops.GlobalAveragePool,
    ops.GlobalMaxPool,
    ops.Reshape,
    ops.Flatten,
    ops.Squeeze,
    ops.Unsqueeze,
    ops.Transpose,
    ops.Slice,
    ops.Split,
    ops.Concat,
    ops.Upsample,
    ops.Identity,
    ops.Add,
    ops.Mul,
)
"""Never negative where none of their inputs is."""


def never_negative(edit: Edit, value: str) -> bool:
    """Whether no element of a value can be below zero, whatever the network reads."""
    waiting, seen = [value], {value}
    while waiting:
        current = waiting.pop()
        constant = edit.constant(current)
        if constant is not None:
            if np.any(np.asarray(constant, np.float64) < 0):
                return False
            continue
        node = edit.maker(current)
        if isinstance(node, _ABOVE) or (isinstance(node, ops.Clamp) and node.low >= 0):
            continue
        zeros = isinstance(node, ops.Pad) and (node.mode != "constant" or node.value >= 0)
        if node is None or not (zeros or isinstance(node, _KEEPS)):
            return False
        for operand in node.inputs:
            if operand and operand not in seen:
                seen.add(operand)
                waiting.append(operand)
    return True
