"""Cut a layer into blocks that each fit one neural processor."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.targets.placement.layer import Layer
    from lowbitc.targets.placement.mesh import Memory
    from lowbitc.targets.placement.model import Range


@dataclass(frozen=True, slots=True)
class Cut:
    """How a layer is cut: output channels of a block, parts of the inputs, tiles of columns."""

    channels: int
    input_parts: int
    column_tiles: int

    def count(self, layer: Layer) -> int:
        """Return the number of blocks."""
        channels = len(_channel_ranges(layer, self.channels))
        return channels * self.input_parts * self.column_tiles


@dataclass(frozen=True, slots=True)
class Block:
    """What one NP holds of a layer; sizes in bytes."""

    channels: Range
    inputs: Range
    columns: Range
    weight_bytes: int
    stage_bytes: int
    activation_bytes: int
    finishes: bool
    """Whether the sums are complete here, so that the output stage runs here."""


def choose_cut(layer: Layer, memory: Memory) -> Cut | None:
    """Return the cut with the fewest blocks; None where not even the smallest block fits.

    Of equal counts, fewer column tiles win (a tile holds all weights again), then fewer parts of
    the inputs (a part hands 32-bit sums on).
    """
    best: tuple[tuple[int, int, int], Cut] | None = None
    for tiles in _tile_counts(layer.columns.outputs):
        span = layer.columns.span(-(-layer.columns.outputs // tiles))
        if layer.most_columns and span > layer.most_columns:
            continue
        for parts in _part_counts(layer, memory, tiles):
            channels = _channels(layer, memory, tiles, parts)
            if channels:
                cut = Cut(channels, parts, tiles)
                key = (cut.count(layer), tiles, parts)
                if best is None or key < best[0]:
                    best = (key, cut)
    return None if best is None else best[1]


def blocks(layer: Layer, cut: Cut, resident: Layer | None = None) -> Iterator[Block]:
    """Yield the blocks of a cut: by columns, then output channels, then input channels.

    Weights and constants are those of the NP's image; ``resident`` says what the NP holds of the
    input, where that differs.
    """
    inside = resident or layer
    columns = even_ranges(layer.columns.outputs, cut.column_tiles)
    channels = _channel_ranges(layer, cut.channels)
    inputs = even_ranges(layer.inputs, cut.input_parts)
    for tile, block, part in itertools.product(columns, channels, inputs):
        width, count, depth = (stop - start for start, stop in (tile, block, part))
        finishes = part[1] == layer.inputs
        yield Block(
            block,
            part,
            tile,
            layer.weight_bytes(count, depth),
            layer.constant_bytes(count) if finishes else 0,
            inside.activation_bytes(inside.held_channels(count, depth), width),
            finishes,
        )


def even_ranges(total: int, parts: int) -> tuple[Range, ...]:
    """Cut 0 … total into ``parts`` ranges that are as even as can be."""
    return tuple((total * i // parts, total * (i + 1) // parts) for i in range(parts))


def _channel_ranges(layer: Layer, channels: int) -> tuple[Range, ...]:
    """Cut output channels into even blocks of at most ``channels`` that do not straddle groups."""
    per_group = layer.outputs_per_group
    if layer.groups == 1 or channels < per_group:
        return even_ranges(layer.outputs, -(-layer.outputs // channels))
    groups = even_ranges(layer.groups, -(-layer.groups // (channels // per_group)))
    return tuple((start * per_group, stop * per_group) for start, stop in groups)


def _tile_counts(columns: int) -> Iterator[int]:
    """Yield numbers of column tiles that give different tile widths, ascending."""
    tiles = 1
    while tiles <= columns:
        yield tiles
        width = -(-columns // tiles)
        if width == 1:
            return
        tiles = -(-columns // (width - 1))


def _part_counts(layer: Layer, memory: Memory, tiles: int) -> Iterator[int]:
    """Yield the least number of input parts that fits, and the next: it may hold more channels."""
    width = -(-layer.columns.outputs // tiles)
    # In bits: a channel's line rounded up to bytes would count more than packed lines take.
    line = layer.held_rows * layer.columns.span(width) * layer.input_bits
    depth = memory.activation_bytes * 8 // line if line else layer.inputs
    if layer.weight:
        room = max(memory.weight_bytes - layer.constant_bytes(1), 0)
        depth = min(depth, room * 8 // (layer.taps * layer.weight.bits))
    if not depth:
        return
    needed = -(-layer.inputs // depth)
    for parts in (needed, needed + 1):
        splits = layer.groups == 1 and memory.partial_sums
        if parts <= layer.inputs and (parts == 1 or splits):
            yield parts


def _channels(layer: Layer, memory: Memory, tiles: int, parts: int) -> int:
    """Return the most output channels that fit with every block of a cut; 0 where none does."""
    width = -(-layer.columns.outputs // tiles)
    depth = -(-layer.inputs // parts)
    room = memory.weight_bytes - layer.shared_bytes
    one = layer.stage_bytes
    bits = depth * layer.taps * layer.weight.bits if layer.weight else 0
    most = layer.outputs
    if bits or one:
        most = min(most, max(room, 0) * 8 // (bits + 8 * one))
    if room < 0 or not most:
        return 0
    per_group = layer.outputs_per_group
    groups = -(-most // per_group)
    while groups and layer.activation_bytes(groups * depth, width) > memory.activation_bytes:
        line = layer.activation_bytes(groups * depth, width)
        groups = min(groups - 1, groups * memory.activation_bytes // line)
    if not groups:
        return 0
    most = min(most, groups * per_group)
    if layer.groups == 1:
        return most
    # Blocks hold whole groups, or a group holds whole blocks.
    if most >= per_group:
        return most - most % per_group
    return next(n for n in range(most, 0, -1) if per_group % n == 0)
