"""What one neural processor does with its events: sums, then its output stage, kind by kind."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.numerics import spec
from lowbitc.compiler.numerics.pool_divisors import pool_factors
from lowbitc.targets.container import unpack_levels
from lowbitc.targets.engines.arrivals import runs
from lowbitc.targets.engines.landings import NOWHERE, landings
from lowbitc.targets.engines.reference import output_stage
from lowbitc.targets.placement.layer import element_of
from lowbitc.targets.program.rows import unpack_stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.elements import Int32, Int64, LevelType
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.engines.arrivals import Arrivals
    from lowbitc.targets.engines.work import Share
    from lowbitc.targets.program.image import Image

    Made = tuple[Int64, int]
    """Sums or levels of a block, frames first, and how often events were used for them."""


@dataclass(frozen=True, slots=True)
class Block:
    """One NP at work: its node and its memory."""

    node: Node
    graph: Graph
    share: Share
    image: Image

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return self.image.channels[1] - self.image.channels[0]

    @property
    def output(self) -> LevelType:
        """Level type of what it makes."""
        return element_of(self.graph, self.node.outputs[0])

    def landings(self) -> tuple[tuple[int, ...], list[Int64]]:
        """Return the size of the block's outputs, and by tap the output that a place reaches.

        Both are about the spatial dimensions, flattened in the second.
        """
        size = list(self.graph.shape(self.node.outputs[0])[2:])
        read = [range(n) for n in self.graph.shape(self.node.inputs[0])[2:]]
        tables = list(landings(self.node, self.graph))
        if tables and self.share.tiled:
            start, stop = self.image.columns
            size[-1] = stop - start
            read[-1] = read[-1][self.share.operands[0].box[-1]]
            columns = tables[-1][:, read[-1].start : read[-1].stop]
            inside = (columns >= start) & (columns < stop)
            tables[-1] = np.where(inside, columns - start, NOWHERE)
        found: list[Int64] = []
        for tap in itertools.product(*(range(len(table)) for table in tables)):
            reached = np.zeros((1,), np.int64)
            lost = np.zeros((1,), np.bool_)
            for table, t, n in zip(tables, tap, size, strict=True):
                reached = np.add.outer(reached * n, table[t]).reshape(-1)
                lost = np.logical_or.outer(lost, table[t] < 0).reshape(-1)
            found.append(np.where(lost, NOWHERE, reached))
        return tuple(size), found


@functools.singledispatch
def make(node: Node, block: Block, came: Sequence[Arrivals]) -> Made:
    """Return the levels of a block that has no sums, and how often events were used."""
    del block, came
    message = f"no event kernel for {node.op} {node.name}"
    raise InternalError(message)


def collect(block: Block, came: Arrivals) -> Made:
    """Return the sums of a block: what every event adds by its weights, or by itself."""
    if isinstance(block.node, q.QAveragePool):
        return _collect_pool(block.node, block, came)
    rows = came.shape[1:]
    size, taps = rows[1:], [np.arange(math.prod(rows[1:]), dtype=np.int64)]
    if not isinstance(block.node, q.QDense):
        size, taps = block.landings()
    per_use = block.share.fan_out
    groups = block.channels // per_use
    weights = _columns(block, groups, len(taps))
    inward = weights.shape[2]
    sums = np.zeros((groups, rows[0] * math.prod(size), per_use), np.int32)
    uses = 0
    for reached, columns in zip(taps, weights, strict=True):
        levels, channels, target = _landed(came, reached, math.prod(size))
        uses += len(levels)
        for channel, start, stop in runs(channels):
            group, inside = divmod(channel, inward)
            column = columns[group, inside]
            # The places of one channel are different, and so are those that they reach by one tap.
            sums[group][target[start:stop]] += np.multiply.outer(levels[start:stop], column)
    made = sums.reshape(groups, rows[0], *size, per_use)
    if isinstance(block.node, q.QDense):
        return made[0].astype(np.int64), uses
    made = np.moveaxis(np.moveaxis(made, -1, 1), 2, 0)
    return made.reshape(rows[0], block.channels, *size).astype(np.int64), uses


def finish(block: Block, sums: Int64) -> Int64:
    """Return what the output stage makes of a block's sums."""
    node, image = block.node, block.image
    if not isinstance(node, q.StagedNode):
        message = f"{node.name} has no output stage"
        raise InternalError(message)
    parts = [
        np.asarray(part, np.int32) for part in unpack_stage(node.stage, image.stage, block.channels)
    ]
    table = _table(block) if node.middle is not None else None
    return output_stage(node, sums, parts, table, block.output)


@make.register(q.QMaxPool)
def _max_pool(node: q.QMaxPool, block: Block, came: Sequence[Arrivals]) -> Made:
    del node
    (events,) = came
    size, taps = block.landings()
    outputs = math.prod(size)
    channels, frames = events.shape[:2]
    lowest = np.iinfo(np.int64).min
    best = np.full((channels, frames * outputs), lowest, np.int64)
    met = np.zeros(best.shape, np.int32)
    held = np.zeros(outputs, np.int32)
    uses = 0
    for reached in taps:
        held += np.bincount(reached[reached >= 0], minlength=outputs).astype(np.int32)
        levels, where, target = _landed(events, reached, outputs)
        uses += len(levels)
        best[where, target] = np.maximum(best[where, target], levels)
        met[where, target] += 1
    # A window that met fewer events than it holds levels has a zero among them.
    zero = met < np.tile(held, frames)
    best[zero] = np.maximum(best[zero], 0)
    return np.moveaxis(best.reshape(channels, frames, *size), 0, 1), uses


@make.register(q.QAdd)
def _add(node: q.QAdd, block: Block, came: Sequence[Arrivals]) -> Made:
    rows = math.prod(came[0].shape[1:])
    sums = np.zeros((came[0].shape[0], rows), np.int64)
    for events, multiplier in zip(came, (node.multiplier_a, node.multiplier_b), strict=True):
        sums[events.channels, events.rows] += events.levels.astype(np.int64) * multiplier
    levels = spec.add(sums, np.zeros_like(sums), 1, 0, node.shift, block.output)
    return np.moveaxis(levels.reshape(came[0].shape), 0, 1), _all(came)


@make.register(q.QTable)
def _look_up(node: q.QTable, block: Block, came: Sequence[Arrivals]) -> Made:
    source = element_of(block.graph, node.inputs[0])
    (events,) = came
    levels = spec.look_up(events.dense(), _table(block), source)
    return np.moveaxis(levels, 0, 1), _all(came)


@make.register(q.QConcat)
def _concat(node: q.QConcat, block: Block, came: Sequence[Arrivals]) -> Made:
    del block
    parts = [np.moveaxis(events.dense(), 0, 1) for events in came]
    return np.concatenate(parts, axis=node.axis), _all(came)


@make.register(q.QTranspose)
@make.register(q.QReshape)
def _move(node: Node, block: Block, came: Sequence[Arrivals]) -> Made:
    del node, block
    return np.moveaxis(came[0].dense(), 0, 1), _all(came)


def _all(came: Sequence[Arrivals]) -> int:
    return sum(len(events.levels) for events in came)


def _landed(came: Arrivals, reached: Int64, outputs: int) -> tuple[Int32, Int64, Int64]:
    """Return level, channel and target of the events that one tap brings to an output."""
    frames, places = np.divmod(came.rows, max(len(reached), 1))
    target = reached[places]
    inside = target >= 0
    if inside.all():
        return came.levels, came.channels, frames * outputs + target
    target = (frames * outputs + target)[inside]
    return came.levels[inside], came.channels[inside], target


def _collect_pool(node: q.QAveragePool, block: Block, came: Arrivals) -> Made:
    size, taps = block.landings()
    channels, frames = came.shape[:2]
    sums = np.zeros((channels, frames * math.prod(size)), np.int32)
    uses = 0
    for reached in taps:
        levels, where, target = _landed(came, reached, math.prod(size))
        uses += len(levels)
        sums[where, target] += levels
    made = sums.reshape(channels, frames, *size).astype(np.int64)
    whole = [block.graph.shape(v)[2:] for v in (node.inputs[0], node.outputs[0])]
    factors = pool_factors(node, *whole)
    if block.share.tiled:
        factors = factors[..., slice(*block.image.columns)]
    return np.moveaxis(made * factors, 0, 1), uses


def _columns(block: Block, groups: int, taps: int) -> Int32:
    """Return the weights that an event adds, [taps, groups, input channels, outputs]."""
    image = block.image
    if image.weight is None:
        message = f"{block.node.name} has no weights"
        raise InternalError(message)
    depth = image.inputs[1] - image.inputs[0]
    levels = unpack_levels(image.weights, image.weight, block.channels * depth * taps)
    held = levels.reshape(groups, -1, depth, taps).transpose(3, 0, 2, 1)
    return np.ascontiguousarray(held, np.int32)


def _table(block: Block) -> Int64:
    return np.frombuffer(block.image.table, block.output.dtype).astype(np.int64)
