"""Give weight levels back as float values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lowbitc.compiler.elements import Array, Float32
    from lowbitc.compiler.ir.graph import Graph


def float_constants(graph: Graph, values: Iterable[str]) -> dict[str, Array]:
    """Return constants by name; weight levels become float32 ``level · scale``.

    A scale has one entry, or one an output channel: axis 0, except in transposed convolutions,
    whose weights are I,O/groups,kernel….
    """
    groups = {
        node.inputs[1]: node.groups for node in graph.nodes if isinstance(node, ops.ConvTranspose)
    }
    found: dict[str, Array] = {}
    for value in values:
        array = graph.constants[value]
        held = graph.types.get(value)
        if isinstance(held, TensorType) and held.levels is not None:
            found[value] = _dequantized(array, held, groups.get(value, 0))
        else:
            found[value] = array
    return found


def _dequantized(array: Array, held: TensorType, groups: int) -> Float32:
    levels = np.asarray(array, np.float32)
    scale = np.asarray(held.scale or (1.0,), np.float32)
    if scale.size == 1:
        return np.asarray(levels * scale[0], np.float32)
    rest = (1,) * (array.ndim - 2)
    if not groups:
        return levels * np.reshape(scale, (-1, *(1,) * (array.ndim - 1)))
    # Input channel i belongs to group i // (I / groups), and so do O / groups outputs.
    rows = np.repeat(np.reshape(scale, (groups, -1)), array.shape[0] // groups, axis=0)
    return levels * np.reshape(rows, (*array.shape[:2], *rest))
