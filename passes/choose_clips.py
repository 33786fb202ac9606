"""Choose the clip of a coarse activation by what it costs the layers that read it.

At 1 or 2 bits the clip of least squared error of the activation itself is not the best one: what
counts is how well the next layers' sums can still be told from the levels. For each candidate,
that is the error of the best float weights for those levels (see ``fit_layer``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir.graph import Graph, Stage
from lowbitc.compiler.statistics.fit_layer import LayerRows, float_error
from lowbitc.passes.bin_weights import channel_rows
from lowbitc.passes.chains import KEEPS_LEVELS, WEIGHTED
from lowbitc.passes.sample_windows import (
    choose_positions,
    gather_outputs,
    gather_windows,
    windows_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.elements import Array, Float32, LevelType
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import Clip

MULTIPLES = (0.65, 0.75, 0.85, 1.0, 1.15, 1.35, 1.6)
CLIP_FRAMES = 256
_ROWS = 1 << 13
_ELEMENTS = 16 << 20


@dataclass(frozen=True, slots=True)
class Path:
    """Nodes that only move or compare levels, and the weighted reader at their end."""

    moves: tuple[Node, ...]
    reader: Node


def find_paths(graph: Graph, value: str) -> tuple[Path, ...] | None:
    """Return the ways from a value to weighted readers; None where anything else reads it."""
    found: list[Path] = []
    if value in graph.outputs:
        return None
    for node in graph.consumers().get(value, []):
        if node.name in graph.host_reasons:
            return None
        if isinstance(node, WEIGHTED):
            found.append(Path((), node))
        elif isinstance(node, KEEPS_LEVELS):
            behind = find_paths(graph, node.outputs[0])
            if behind is None:
                return None
            found += [Path((node, *p.moves), p.reader) for p in behind]
        else:
            return None
    return tuple(found)


class ReaderRows:
    """What one reader sees of a value, before it is quantized, and what it should put out."""

    def __init__(self, graph: Graph, value: str, path: Path, frames: int, threads: int) -> None:
        """Load the moves and the reader."""
        reader = path.reader
        self.windows = windows_of(graph, reader)
        size = self.windows.groups * self.windows.inputs
        wanted = max(min(_ROWS, _ELEMENTS // size), 2 * self.windows.inputs)
        self.count = min(self.windows.positions, max(1, -(-wanted // max(frames, 1))))
        self.value = value
        self.source = reader.inputs[0]
        self.target = reader.outputs[0]
        self._moves = _session(graph, value, path.moves, self.source, threads)
        self._whole = _session(graph, value, (*path.moves, reader), self.target, threads)
        weights = np.asarray(graph.constants[reader.inputs[1]], np.float32)
        flat, _ = channel_rows(reader, weights)
        self.weights = flat.reshape(self.windows.groups, -1, flat.shape[1])
        self._sums: list[Array] = []
        self._targets: list[Array] = []

    def add(self, sums: Float32, floats: Float32, first: int) -> None:
        """Add frames: the quantized network's real sums, and the float network's value."""
        chosen = choose_positions(self.windows.positions, self.count, first, len(sums))
        moved = self._moves.arrays({self.value: sums})[self.source] if self._moves else sums
        if self._whole is None:
            return
        target = self._whole.arrays({self.value: floats})[self.target]
        self._sums.append(gather_windows(self.windows, moved, chosen))
        self._targets.append(gather_outputs(self.windows, target, chosen))

    def errors(self, scales: tuple[float, ...], element: LevelType) -> list[float]:
        """Return the relative error of the reader's sums at each scale of the value."""
        rows, target = np.concatenate(self._sums), np.concatenate(self._targets)
        none = np.zeros(1, np.float32)
        found: list[float] = []
        for scale in scales:
            steps = np.floor(rows / np.float32(scale) + np.float32(0.5))
            levels = np.clip(steps, element.minimum, element.maximum).astype(element.dtype)
            seen = LayerRows(levels, target, none - np.inf, none + np.inf)
            found.append(float_error(seen, self.weights * scale))
        return found


def candidates(clip: Clip) -> tuple[float, ...]:
    """Return the scales to try."""
    return tuple(float(np.float32(clip.scale * m)) for m in MULTIPLES)


def _session(
    graph: Graph, value: str, nodes: tuple[Node, ...], output: str, threads: int
) -> FloatSession | None:
    if not nodes:
        return None
    constants = {v: graph.constants[v] for n in nodes for v in n.inputs if v in graph.constants}
    held = {value, *(v for n in nodes for v in (*n.inputs, *n.outputs))}
    small = Graph(
        name=nodes[-1].name,
        inputs=(value,),
        outputs=(output,),
        nodes=nodes,
        types={v: t for v, t in graph.types.items() if v in held},
        constants=constants,
        opset=graph.opset,
        stage=Stage.FOLDED,
    )
    return FloatSession(small, threads=threads)


def first_frames(frames: int, step: int = 32, most: int = CLIP_FRAMES) -> Iterator[tuple[int, int]]:
    """Yield ranges over the samples that clips are chosen on."""
    for start in range(0, min(frames, most), step):
        yield start, min(start + step, frames, most)
