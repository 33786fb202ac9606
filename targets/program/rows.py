"""Constants of a layer as neural processors hold them: weights by output channel, and its stage.

Weights are rows [O, K]: an output channel's weights over the input channels of its group and the
taps of the kernel, in this order, whatever layout the operator has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir.quantized import (
    WEIGHTED,
    QConvTranspose,
    QTable,
    Stage,
    StagedNode,
)

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.node import Node

REQUANTIZE_PARTS: tuple[str, ...] = ("bias", "multiplier", "shift", "low", "high")
_MULTIPLIER_BITS = 24
_MULTIPLIER_MASK = (1 << _MULTIPLIER_BITS) - 1
_REQUANTIZE = np.dtype([("bias", "<i4"), ("factor", "<u4"), ("low", "<i2"), ("high", "<i2")])


@dataclass(frozen=True, slots=True)
class ConstantNames:
    """Names of a node's constants by what they are; "" and () where it has none."""

    weight: str = ""
    stage: tuple[str, ...] = ()
    table: str = ""


def stage_parts(stage: Stage) -> int:
    """Return how many constants an output stage has, without its table."""
    return len(REQUANTIZE_PARTS) if stage is Stage.REQUANTIZE else 1


def constant_names(node: Node) -> ConstantNames:
    """Sort the inputs of a node that are constants; a node with too few raises ValueError."""
    if isinstance(node, QTable):
        _, table = node.inputs
        return ConstantNames(table=table)
    if not isinstance(node, StagedNode):
        return ConstantNames()
    rest = list(node.inputs[1:])
    weight = rest.pop(0) if isinstance(node, WEIGHTED) and rest else ""
    parts = stage_parts(node.stage)
    if len(rest) != parts + node.table:
        message = f"{len(rest)} constants for the stage {node.stage.value}"
        raise ValueError(message)
    return ConstantNames(weight, tuple(rest[:parts]), rest[parts] if node.table else "")


def to_rows(node: Node, weights: Array) -> Array:
    """Return weights in the operator's layout as rows [O, K]."""
    if not isinstance(node, QConvTranspose):
        return weights.reshape(weights.shape[0], -1)
    inward, per_group, *kernel = weights.shape
    split = weights.reshape(node.groups, inward // node.groups, per_group, *kernel)
    return np.moveaxis(split, 2, 1).reshape(node.groups * per_group, -1)


def from_rows(node: Node, rows: Array, shape: tuple[int, ...]) -> Array:
    """Return rows [O, K] as weights of ``shape``, the operator's layout."""
    if not isinstance(node, QConvTranspose):
        return rows.reshape(shape)
    inward, per_group, *kernel = shape
    split = rows.reshape(node.groups, per_group, inward // node.groups, *kernel)
    return np.ascontiguousarray(np.moveaxis(split, 1, 2)).reshape(shape)


def row_shape(node: Node, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (O, K) of weights of ``shape`` in the operator's layout."""
    outputs = shape[1] * node.groups if isinstance(node, QConvTranspose) else shape[0]
    return outputs, math.prod(shape) // max(outputs, 1)


def pack_stage(stage: Stage, parts: list[Array]) -> Array:
    """Return the stage's constants as one record a channel, [C] or, of thresholds, [C, n]."""
    if stage is not Stage.REQUANTIZE:
        return parts[0].astype("<i4")
    bias, multiplier, shift, low, high = parts
    records = np.zeros(bias.shape, _REQUANTIZE)
    records["bias"] = bias
    records["factor"] = multiplier.astype(np.uint32) | (
        shift.astype(np.uint32) << np.uint32(_MULTIPLIER_BITS)
    )
    records["low"] = low
    records["high"] = high
    return records


def unpack_stage(stage: Stage, data: bytes, channels: int) -> list[Array]:
    """Return the parts of a stage of so many channels, each int32 [C, …].

    Raises ValueError when the bytes are not a whole number of records a channel.
    """
    if stage is Stage.REQUANTIZE:
        records = np.frombuffer(data, _REQUANTIZE)
        if records.size != channels:
            message = f"{records.size} records for {channels} channels"
            raise ValueError(message)
        factor = records["factor"]
        return [
            records["bias"].astype(np.int32),
            (factor & np.uint32(_MULTIPLIER_MASK)).astype(np.int32),
            (factor >> np.uint32(_MULTIPLIER_BITS)).astype(np.int32),
            records["low"].astype(np.int32),
            records["high"].astype(np.int32),
        ]
    words = np.frombuffer(data, "<i4").astype(np.int32)
    if stage is Stage.ACCUMULATOR:
        return [words.reshape(channels)]
    return [words.reshape(channels, -1)]
