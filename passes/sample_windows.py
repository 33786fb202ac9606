"""Pick output positions of a layer and gather the inputs that each sees.

Neighbouring positions tell nearly the same, so a fixed number of rows is spread over all
samples: memory does not grow with them, and no random generator is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

_ELEMENTS = 48 << 20
_MOST_ROWS = 1 << 15
_ROWS_PER_INPUT = 8
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 1 << 64


@dataclass(frozen=True, slots=True)
class Windows:
    """How a weighted layer sees its input: groups, inputs of a group, positions of a frame."""

    node: Node
    groups: int
    inputs: int
    outputs: int
    spatial: tuple[int, ...]
    """Shape of the positions of one frame."""

    @property
    def positions(self) -> int:
        """How many output positions one frame has."""
        return math.prod(self.spatial)


def windows_of(graph: Graph, node: Node) -> Windows:
    """Describe the rows of a weighted layer."""
    shape = graph.shape(node.outputs[0])
    if isinstance(node, ops.Dense):
        inputs = graph.shape(node.inputs[0])[-1]
        return Windows(node, 1, inputs, shape[-1], shape[1:-1])
    weights = graph.shape(node.inputs[1])
    groups = node.groups if isinstance(node, (ops.Conv, ops.ConvTranspose)) else 1
    per_in = graph.shape(node.inputs[0])[1] // groups
    return Windows(node, groups, per_in * math.prod(weights[2:]), shape[1] // groups, shape[2:])


@dataclass(frozen=True, slots=True)
class Sampling:
    """Take ``count`` positions of every ``every``-th frame of a layer."""

    positions: int
    count: int
    every: int

    def choose(self, first: int, frames: int) -> tuple[slice, Int64]:
        """Return which of ``frames`` frames from number ``first`` to take, and positions [F, P].

        One position falls in each of ``count`` equal stretches, at an offset that golden-ratio
        steps spread evenly over the frames; a frame's positions do not depend on its batch.
        """
        taken = slice(-first % self.every, frames, self.every)
        numbers = np.arange(first, first + frames, dtype=np.uint64)[taken, np.newaxis]
        stretch = np.arange(self.count, dtype=np.uint64)[np.newaxis, :]
        with np.errstate(over="ignore"):
            step = numbers * np.uint64(self.count) + stretch + np.uint64(1)
            mixed = step * np.uint64(_GOLDEN)
        within = mixed.astype(np.float64) / _WORD
        found = np.floor((stretch.astype(np.float64) + within) * (self.positions / self.count))
        return taken, np.minimum(found, self.positions - 1).astype(np.int64)


def sample_rows(windows: Windows, frames: int, most: int = 0) -> Sampling:
    """Spread a fixed number of rows over all frames: ``most``, or what a fit needs."""
    size = windows.groups * windows.inputs
    wanted = most or min(_MOST_ROWS, max(_ELEMENTS // size, _ROWS_PER_INPUT * windows.inputs))
    count = min(windows.positions, max(1, math.ceil(wanted / max(frames, 1))))
    every = math.ceil(frames / wanted) if count == 1 else 1
    return Sampling(windows.positions, count, max(every, 1))


def gather_windows(windows: Windows, x: Array, chosen: Int64) -> Array:
    """Return rows [M, G, K] of input levels [F, …] at chosen positions [F, P]."""
    node = windows.node
    frames, count = chosen.shape
    frame: Int64 = np.repeat(np.arange(frames, dtype=np.int64), count)
    if isinstance(node, ops.Dense):
        flat = x.reshape(frames, -1, windows.inputs)
        return flat[frame, chosen.reshape(-1)][:, np.newaxis, :]
    places = np.unravel_index(chosen.reshape(-1), windows.spatial)
    spread, stride, dilation = _spread(node, x)
    kernel = node.kernel if isinstance(node, (ops.Conv, ops.ConvTranspose)) else ()
    rank = len(kernel)
    index: list[Int64] = [frame.reshape(-1, *(1,) * rank)]
    for axis in range(rank):
        taps = np.arange(kernel[axis]) * dilation[axis]
        at = places[axis][:, np.newaxis] * stride[axis] + taps
        shape = [1] * (rank + 1)
        shape[0], shape[axis + 1] = len(frame), kernel[axis]
        index.append(at.reshape(shape))
    seen: Array = spread[tuple(index)]  # [M, kernel…, C]
    if isinstance(node, ops.ConvTranspose):
        seen = seen[(slice(None), *(slice(None, None, -1),) * rank)]
    return np.ascontiguousarray(np.moveaxis(seen, -1, 1)).reshape(
        len(frame), windows.groups, windows.inputs
    )


def gather_outputs(windows: Windows, y: Array, chosen: Int64) -> Array:
    """Return rows [M, G, O] of outputs [F, …] at chosen positions [F, P]."""
    frames, count = chosen.shape
    frame: Int64 = np.repeat(np.arange(frames, dtype=np.int64), count)
    if isinstance(windows.node, ops.Dense):
        flat = y.reshape(frames, -1, windows.outputs)
        return flat[frame, chosen.reshape(-1)][:, np.newaxis, :]
    flat = y.reshape(frames, windows.groups * windows.outputs, -1)
    found = flat[frame, :, chosen.reshape(-1)]
    return found.reshape(-1, windows.groups, windows.outputs)


def _spread(node: Node, x: Array) -> tuple[Array, tuple[int, ...], tuple[int, ...]]:
    """Return the padded input, channels last, with the stride and dilation of its windows."""
    if isinstance(node, ops.Conv):
        rank = len(node.kernel)
        widths = list(zip(node.pads[:rank], node.pads[rank:], strict=True))
        last = np.pad(np.moveaxis(x, 1, -1), ((0, 0), *widths, (0, 0)))
        return last, node.stride, node.dilation
    if not isinstance(node, ops.ConvTranspose):
        raise TypeError(node.op)
    rank = len(node.kernel)
    moved = np.moveaxis(x, 1, -1)
    reach = [d * (k - 1) for d, k in zip(node.dilation, node.kernel, strict=True)]
    before = [r - p for r, p in zip(reach, node.pads[:rank], strict=True)]
    after = [
        r - p + o for r, p, o in zip(reach, node.pads[rank:], node.output_padding, strict=True)
    ]
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], node.stride, strict=True)]
    wide = [max(b, 0) + n + max(a, 0) for b, n, a in zip(before, sizes, after, strict=True)]
    out = np.zeros((x.shape[0], *wide, x.shape[1]), x.dtype)
    inner = tuple(
        slice(max(b, 0), max(b, 0) + n, s)
        for b, n, s in zip(before, sizes, node.stride, strict=True)
    )
    out[(slice(None), *inner)] = moved
    crop = tuple(
        slice(max(-b, 0), w - max(-a, 0)) for b, w, a in zip(before, wide, after, strict=True)
    )
    return out[(slice(None), *crop)], (1,) * rank, node.dilation
