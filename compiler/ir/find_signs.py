"""Find values that are never negative."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.groups import LAYOUT, POOLS, POSITIVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.node import Node

_KEEPS = (*POOLS, *LAYOUT, ops.Split, ops.Identity, ops.Add, ops.Mul)
"""Never negative where none of their inputs is; a Pad also has a value of its own."""


def never_negative(
    value: str, maker: Callable[[str], Node | None], constant: Callable[[str], Array | None]
) -> bool:
    """Whether no element of a value can be below zero, whatever the network reads.

    ``maker`` gives the node that makes a value, ``constant`` the array of one that is constant.
    """
    waiting, seen = [value], {value}
    while waiting:
        current = waiting.pop()
        held = constant(current)
        if held is not None:
            if np.any(np.asarray(held, np.float64) < 0):
                return False
            continue
        node = maker(current)
        if isinstance(node, POSITIVE) or (isinstance(node, ops.Clamp) and node.low >= 0):
            continue
        below = isinstance(node, ops.Pad) and node.mode == "constant" and node.value < 0
        if below or not isinstance(node, _KEEPS):
            return False
        for operand in node.inputs:
            if operand and operand not in seen:
                seen.add(operand)
                waiting.append(operand)
    return True
