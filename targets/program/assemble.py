"""Put a layer's constants together again from the images of its neural processors."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lowbitc.compiler.elements import I32, LevelType
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.numerics.pool_divisors import pool_divisor
from lowbitc.compiler.numerics.spec import ACCUMULATOR_MAX, MULTIPLIER_BITS, SHIFT_MAX
from lowbitc.targets.container import packed_bytes, unpack_levels
from lowbitc.targets.placement.layer import element_of
from lowbitc.targets.program.rows import (
    REQUANTIZE_PARTS,
    constant_names,
    from_rows,
    row_shape,
    unpack_stage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.compiler.elements import Array, Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.placement.layer import Layer
    from lowbitc.targets.placement.model import Range
    from lowbitc.targets.program.image import Image


class AssemblyError(ValueError):
    """Images that do not make up their layer; the text says why."""


Constants: TypeAlias = "dict[str, tuple[Array, TensorType]]"


def assemble_constants(
    node: Node, graph: Graph, layer: Layer, images: Sequence[Image]
) -> Constants:
    """Return a node's constants and their types by name.

    Every tile of columns holds all of them; the tiles must agree. Raises AssemblyError.
    """
    tiles = _tiles(layer, images)
    _check_sizes(layer, images)
    first, *others = tiles
    for tile in others:
        for a, b in zip(first, tile, strict=True):
            if (a.weights, a.stage, a.table) != (b.weights, b.stage, b.table):
                message = "NPs of two tiles of columns hold other constants"
                raise AssemblyError(message)
    names = constant_names(node)
    found: Constants = {}
    if names.weight:
        held = graph.tensor(names.weight)
        found[names.weight] = (_weights(node, held, layer, first), held)
    finishing = [image for image in first if image.inputs[1] == layer.inputs]
    if isinstance(node, q.StagedNode):
        data = b"".join(image.stage for image in finishing)
        parts = unpack_stage(node.stage, data, layer.outputs)
        for name, part in zip(names.stage, parts, strict=True):
            found[name] = (part, TensorType(part.shape, I32))
    if names.table:
        if any(image.table != finishing[0].table for image in finishing):
            message = "its NPs hold different tables"
            raise AssemblyError(message)
        element = element_of(graph, node.outputs[0])
        table = np.frombuffer(finishing[0].table, element.dtype)
        found[names.table] = (table, TensorType(table.shape, element))
    for problem in _wrong_values(node, graph, found):
        raise AssemblyError(problem)
    return found


def _tiles(layer: Layer, images: Sequence[Image]) -> list[list[Image]]:
    """Return the images by tile of columns; each tile by channels, then inputs.

    Raises AssemblyError when the blocks do not cover the layer once.
    """
    ordered = sorted(images, key=lambda i: (i.columns, i.channels, i.inputs))
    axes: list[list[Range]] = [
        sorted({getattr(image, axis) for image in images})
        for axis in ("columns", "channels", "inputs")
    ]
    totals = (layer.columns.outputs, layer.outputs, layer.inputs)
    for ranges, total in zip(axes, totals, strict=True):
        ends = [0, *(stop for _, stop in ranges)]
        if [start for start, _ in ranges] != ends[:-1] or ends[-1] != total:
            message = f"blocks {ranges[:4]} do not cover {total}"
            raise AssemblyError(message)
    columns, channels, inputs = axes
    wanted = [(t, c, i) for t in columns for c in channels for i in inputs]
    if len(ordered) != len(wanted) or wanted != [
        (i.columns, i.channels, i.inputs) for i in ordered
    ]:
        message = f"{len(ordered)} blocks where {len(wanted)} cover the layer"
        raise AssemblyError(message)
    size = len(channels) * len(inputs)
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _check_sizes(layer: Layer, images: Sequence[Image]) -> None:
    for image in images:
        channels, inputs = (stop - start for start, stop in (image.channels, image.inputs))
        finishes = image.inputs[1] == layer.inputs
        wanted = (
            layer.weight_bytes(channels, inputs),
            channels * layer.stage_bytes if finishes else 0,
            layer.table_bytes if finishes else 0,
        )
        found = (len(image.weights), len(image.stage), len(image.table))
        if found != wanted or image.weight != layer.weight:
            kind = image.weight.name if image.weight else "no weights"
            message = f"a block of {found} bytes of {kind} where it has {wanted}"
            raise AssemblyError(message)


def _weights(node: Node, held: TensorType, layer: Layer, tile: Sequence[Image]) -> Array:
    element = layer.weight
    if not isinstance(element, LevelType):
        message = "weights without a type"
        raise AssemblyError(message)
    outputs, depth = row_shape(node, held.dims)
    # Lengths were checked: the rows are as large as the images allow.
    rows = np.zeros((outputs, depth), np.int8)
    for image in tile:
        channels = image.channels[1] - image.channels[0]
        part = slice(*(i * layer.taps for i in image.inputs))
        count = channels * (part.stop - part.start)
        if len(image.weights) != packed_bytes(count, element.bits):
            message = f"{len(image.weights)} bytes for {count} weights"
            raise AssemblyError(message)
        levels = unpack_levels(image.weights, element, count)
        rows[slice(*image.channels), part] = levels.reshape(channels, -1)
    return from_rows(node, rows, held.dims)


def _wrong_values(node: Node, graph: Graph, found: Constants) -> Iterator[str]:
    """Yield what is wrong with the values of constants: ranges, order, sums that overflow."""
    names = constant_names(node)
    arrays = {name: array.astype(np.int64) for name, (array, _) in found.items()}
    if names.table:
        element = element_of(graph, node.outputs[0])
        table = arrays[names.table]
        if table.min() < element.minimum or table.max() > element.maximum:
            yield "its table holds levels that its output has not"
    if not isinstance(node, q.StagedNode):
        return
    stage: dict[str, Int64] = dict(
        zip(REQUANTIZE_PARTS, (arrays[n] for n in names.stage), strict=False)
    )
    if node.stage is q.Stage.THRESHOLDS:
        if np.any(np.diff(arrays[names.stage[0]], axis=1) < 0):
            yield "its thresholds do not ascend"
    elif node.stage is q.Stage.REQUANTIZE:
        yield from _wrong_requantize(node, graph, stage)
    bias = stage["bias"] if node.stage is not q.Stage.THRESHOLDS else np.zeros(1, np.int64)
    if _reach(node, graph, arrays) + int(np.abs(bias).max()) > ACCUMULATOR_MAX:
        yield "its sums could overflow 32 bits"


def _wrong_requantize(
    node: q.StagedNode, graph: Graph, stage: Mapping[str, Int64]
) -> Iterator[str]:
    element = node.middle or element_of(graph, node.outputs[0])
    if stage["multiplier"].min() < 1 or stage["multiplier"].max() >= 1 << MULTIPLIER_BITS:
        yield "a multiplier is not in 1 to 2^24 - 1"
    if stage["shift"].min() < 1 or stage["shift"].max() > SHIFT_MAX:
        yield f"a shift is not in 1 to {SHIFT_MAX}"
    if (
        np.any(stage["low"] > stage["high"])
        or stage["low"].min() < element.minimum
        or stage["high"].max() > element.maximum
    ):
        yield f"a clamp is not within {element.name}"


def _reach(node: q.StagedNode, graph: Graph, arrays: Mapping[str, Int64]) -> int:
    """Return the largest magnitude that a sum can have."""
    element = element_of(graph, node.inputs[0])
    largest = max(-element.minimum, element.maximum)
    if isinstance(node, q.QAveragePool):
        size, outputs = (graph.shape(v)[2:] for v in (node.inputs[0], node.outputs[0]))
        return pool_divisor(node, size, outputs) * largest
    names = constant_names(node)
    weights = np.abs(arrays[names.weight])
    if isinstance(node, q.QConvTranspose):
        # All taps and inputs of a group bound what can meet in one output.
        per_output = weights.sum(axis=tuple(range(2, weights.ndim)))
        return int(per_output.sum(axis=0).max()) * largest
    return int(weights.reshape(weights.shape[0], -1).sum(axis=1).max()) * largest
