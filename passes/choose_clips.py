"""Choose the clip of a coarse activation by what it costs the layers that read it.

At 1 or 2 bits the clip of least squared error of the activation itself is not the best one: what
counts is how well the next layers' sums can still be told from the levels. For each candidate,
that is the error of the best float weights for those levels (see ``fit_layer``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import F32, Array
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, Stage
from lowbitc.compiler.ir.groups import KEEPS_LEVELS, WEIGHTED
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.statistics.fit_layer import LayerRows, float_error
from lowbitc.passes.bin_weights import channel_rows
from lowbitc.passes.sample_windows import (
    gather_outputs,
    gather_windows,
    sample_rows,
    windows_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lowbitc.compiler.elements import Float32, LevelType
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import Clip
    from lowbitc.compiler.statistics.fit_layer import FittedLayer
    from lowbitc.passes.chains import Chain
    from lowbitc.passes.replay import Replay

MULTIPLES = (0.65, 0.75, 0.85, 1.0, 1.15, 1.35, 1.6)
_SAMPLES = 256
_SAMPLES_AT_ONCE = 32
_ROWS = 1 << 13
_ADDED = 1 << 20
_ELEMENTS = 16 << 20


@dataclass(frozen=True, slots=True)
class Path:
    """Nodes that only move or compare levels, and the reader at their end."""

    moves: tuple[Node, ...]
    reader: Node


Real = Callable[[int, int], Array]
"""What a layer of the quantized network puts out before it is quantized, for a range of samples."""


def choose_clip(replay: Replay, chain: Chain, real: Real) -> dict[str, Clip]:
    """Return new clips for a layer's output and what is moved from it.

    Weighted layers count with the relative error of their sums, residual Adds with that of the
    value itself; nothing changes where anything else reads it.
    """
    graph, output = replay.graph, chain.output
    paths = find_paths(graph, output)
    if not any(isinstance(path.reader, WEIGHTED) for path in paths):
        return {}
    used = min(replay.frames, _SAMPLES)
    readers = [
        ReaderRows(graph, output, path, used)
        if isinstance(path.reader, WEIGHTED)
        else AddRows(graph.tensor(output).size, used)
        for path in paths
    ]
    for start in range(0, used, _SAMPLES_AT_ONCE):
        stop = min(start + _SAMPLES_AT_ONCE, used)
        values, floats = real(start, stop), replay.read_float(output, start, stop)
        for reader in readers:
            reader.add(values, floats, start)
    clip = graph.clips[output]
    scales = tuple(float(np.float32(clip.scale * multiple)) for multiple in MULTIPLES)
    costs = np.sum([reader.errors(scales, clip.element) for reader in readers], axis=0)
    best = dataclasses.replace(clip, scale=scales[int(np.argmin(costs))])
    moved = {v for path in paths for node in path.moves for v in node.outputs}
    return dict.fromkeys((output, *sorted(moved)), best)


def real_layer(replay: Replay, chain: Chain, fitted: FittedLayer) -> Real:
    """Return the outputs of a layer with its fitted weights, before they are quantized.

    ``fitted`` has the value of one level of its weights per level of its input.
    """
    session, source = _load_layer(replay.graph, chain, fitted), chain.compute.inputs[0]

    def run(start: int, stop: int) -> Array:
        levels = replay.read_levels(source, start, stop)
        return session.arrays({source: levels.astype(np.float32)})[chain.output]

    return run


def real_sum(replay: Replay, chain: Chain) -> Real:
    """Return the outputs of a residual Add, before they are quantized."""
    inputs = tuple(v for v in chain.compute.inputs if v not in replay.graph.constants)
    session = _load(replay.graph, inputs, chain.nodes, chain.output)

    def run(start: int, stop: int) -> Array:
        feeds = {v: replay.read_seen(v, start, stop) for v in inputs}
        return session.arrays(feeds)[chain.output]

    return run


def find_paths(graph: Graph, value: str) -> tuple[Path, ...]:
    """Return the ways from a value to readers that weigh or add; none where others read it too."""
    return tuple(_walk(graph, value) or ())


def _walk(graph: Graph, value: str) -> list[Path] | None:
    found: list[Path] = []
    if value in graph.outputs:
        return None
    for node in graph.consumers().get(value, []):
        if node.name in graph.host_reasons:
            return None
        if isinstance(node, (*WEIGHTED, ops.Add)):
            found.append(Path((), node))
        elif isinstance(node, KEEPS_LEVELS):
            behind = _walk(graph, node.outputs[0])
            if behind is None:
                return None
            found += [Path((node, *path.moves), path.reader) for path in behind]
        else:
            return None
    return found


class AddRows:
    """Values that an Add reads: the quantized network's before quantization, and the float ones."""

    def __init__(self, size: int, frames: int) -> None:
        """Take every n-th of the values, so that few are kept."""
        self._step = max(1, size * frames // _ADDED)
        self._seen: list[Float32] = []
        self._targets: list[Float32] = []

    def add(self, real: Array, floats: Array, _first: int) -> None:
        """Add frames."""
        for array, into in ((real, self._seen), (floats, self._targets)):
            into.append(np.asarray(array, np.float32).reshape(-1)[:: self._step])

    def errors(self, scales: Iterable[float], element: LevelType) -> list[float]:
        """Return the relative squared error of the value at each scale."""
        rows, target = np.concatenate(self._seen), np.concatenate(self._targets)
        power = float(np.var(target, dtype=np.float64)) or 1.0
        found: list[float] = []
        for scale in scales:
            gap = _quantized(rows, scale, element) * np.float32(scale) - target
            found.append(float(np.square(gap).mean(dtype=np.float64)) / power)
        return found


def _quantized(rows: Float32, scale: float, element: LevelType) -> Float32:
    steps = np.floor(rows / np.float32(scale) + np.float32(0.5))
    return np.asarray(np.clip(steps, element.minimum, element.maximum), np.float32)


class ReaderRows:
    """What one reader sees of a value, before it is quantized, and what it should put out."""

    def __init__(self, graph: Graph, value: str, path: Path, frames: int) -> None:
        """Load the moves and the reader."""
        reader = path.reader
        self.windows = windows_of(graph, reader)
        size = self.windows.groups * self.windows.inputs
        wanted = max(min(_ROWS, _ELEMENTS // size), 2 * self.windows.inputs)
        self.sampling = sample_rows(self.windows, frames, wanted)
        self.value, self.source, self.target = value, reader.inputs[0], reader.outputs[0]
        self._moves = _load(graph, (value,), path.moves, self.source) if path.moves else None
        self._whole = _load(graph, (value,), (*path.moves, reader), self.target)
        rows, _ = channel_rows(reader, np.asarray(graph.constants[reader.inputs[1]], np.float32))
        self.weights = rows.reshape(self.windows.groups, -1, rows.shape[1])
        self._seen: list[Float32] = []
        self._targets: list[Float32] = []

    def add(self, real: Array, floats: Array, first: int) -> None:
        """Add frames from number ``first``: what both networks have, before quantization."""
        taken, chosen = self.sampling.choose(first, len(real))
        if not len(chosen):
            return
        moved = self._moves.arrays({self.value: real})[self.source] if self._moves else real
        target = self._whole.arrays({self.value: floats})[self.target]
        for array, gather, into in (
            (moved, gather_windows, self._seen),
            (target, gather_outputs, self._targets),
        ):
            into.append(np.asarray(gather(self.windows, array[taken], chosen), np.float32))

    def errors(self, scales: Iterable[float], element: LevelType) -> list[float]:
        """Return the relative error of the reader's sums at each scale of the value."""
        return [float_error(rows, self.weights * s) for s, rows in self._levels(scales, element)]

    def _levels(
        self, scales: Iterable[float], element: LevelType
    ) -> Iterator[tuple[float, LayerRows]]:
        rows, target = np.concatenate(self._seen), np.concatenate(self._targets)
        open_ = np.full((1, 1, 1), np.inf, np.float32)
        for scale in scales:
            levels = _quantized(rows, scale, element).astype(element.dtype)
            yield scale, LayerRows(levels, target, -open_, open_)


def _load(
    graph: Graph, inputs: tuple[str, ...], nodes: tuple[Node, ...], output: str
) -> FloatSession:
    constants = {v: graph.constants[v] for n in nodes for v in n.inputs if v in graph.constants}
    held = {*inputs, *(v for n in nodes for v in (*n.inputs, *n.outputs))}
    small = Graph(
        name=nodes[-1].name,
        inputs=inputs,
        outputs=(output,),
        nodes=nodes,
        types={v: t for v, t in graph.types.items() if v in held},
        constants=constants,
        opset=graph.opset,
        stage=Stage.FOLDED,
    )
    return FloatSession(small, threads=1)


def _load_layer(graph: Graph, chain: Chain, fitted: FittedLayer) -> FloatSession:
    """Load a layer with its fitted weights, from input levels to outputs not yet quantized."""
    compute = chain.compute
    like = np.asarray(graph.constants[compute.inputs[1]])
    flat, restore = channel_rows(compute, like)
    levels = restore(fitted.levels.reshape(flat.shape))
    bias = fitted.bias.reshape(-1).astype(np.float32)
    weights_name, bias_name = f"{compute.name}.seen", f"{compute.name}.seen.bias"
    scales = tuple(float(scale) for scale in fitted.scales.reshape(-1))
    node = dataclasses.replace(compute, inputs=(compute.inputs[0], weights_name, bias_name))
    whole = graph.replace(
        constants={**graph.constants, weights_name: levels, bias_name: bias},
        types={
            **graph.types,
            weights_name: TensorType(levels.shape, fitted.levels_type, scales),
            bias_name: TensorType(bias.shape, F32),
        },
    )
    return _load(whole, compute.inputs[:1], (node, *chain.nodes[1:]), chain.output)
