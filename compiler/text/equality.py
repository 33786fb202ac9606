"""Compare graphs, their constants byte by byte."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph


def same_graph(one: Graph, other: Graph) -> bool:
    """Say whether two graphs are equal: every field, and the bytes of every constant."""
    if set(one.constants) != set(other.constants):
        return False
    if not all(same_array(one.constants[k], other.constants[k]) for k in one.constants):
        return False
    return dataclasses.replace(one, constants={}) == dataclasses.replace(other, constants={})


def same_array(one: Array, other: Array) -> bool:
    """Say whether two arrays have one element type, one shape and the same bytes."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype == object:
        return bool(one.tolist() == other.tolist())
    return one.tobytes() == other.tobytes()
