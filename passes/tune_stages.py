"""Move gains, biases and clips of all layers together, toward the float network's outputs.

Each layer was fitted to its own outputs; what their errors do together shows at the end only. The
levels of weights stay: so there is little to move, which a few hundred samples without labels
settle. The loss is the divergence of class probabilities, and the relative squared error of the
layers on the way, which says more of each sample. Images are shifted anew each time, so that there
are more of them than weights were fitted to. Rounding passes gradients straight through, gains and
clips learn as in LSQ (arXiv 1902.08153) and PACT (1805.06085), by Adam.
"""

from __future__ import annotations

import dataclasses
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir.types import TensorType
from lowbitc.passes.chains import leaving_values
from lowbitc.passes.plan_levels import plan_levels
from lowbitc.passes.spool import Spool
from lowbitc.passes.staged_network import Slopes, StagedNetwork, can_stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lowbitc.compiler.bits import Bits
    from lowbitc.compiler.elements import Array, Float32, Float64, Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.types import Clip
    from lowbitc.passes.calibrate_pact import Samples

_MOST_SAMPLES = 512
_EPOCHS = 5
_NUMBERS_A_SAMPLE = 32
"""More that moves, and probabilities come nearer but the classes in front do not stay there."""
_BATCHES = 16
"""Steps of an epoch: few samples make small batches, not fewer steps."""
_RATE = 0.01
_DECAYS = (0.9, 0.999)
_TINY = 1e-8
_LEAST = 1e-3
_ELEMENTS_AT_ONCE = 1 << 26
_SAMPLES_AT_ONCE = 16
_SCORES = 2
_SHIFT = 1 / 16
"""Of an image's size, to each side."""
_IMAGE = 4


def tune_stages(
    before: Graph, graph: Graph, bits: Bits, samples: Samples, threads: int = 0
) -> Graph:
    """Return the rounded ``graph`` with moved scales, biases and clips.

    ``before`` is the same network with float weights. What it puts out has to be scores of
    classes; the graph is returned as it is where it is not, where a layer has no gradient, where
    samples are few for what would move, or where the loss did not fall. ``threads`` (0: all) run
    parts of a batch side by side, and their sums are added in order.
    """
    results = leaving_values(graph)
    scores = all(
        len(graph.shape(v)) == _SCORES and graph.shape(v)[0] == 1 < graph.shape(v)[1]
        for v in results
    )
    if not (results and scores and can_stage(graph)):
        return graph
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        tuner = _Tuner(before, graph, bits, results, pool)
        try:
            return tuner.run(samples)
        finally:
            tuner.close()


@dataclass(slots=True)
class _Moving:
    """Parameters in one row, in units of which all take steps of one size, and Adam's means."""

    start: Float64
    unit: Float64
    steps: Float64 = field(init=False)
    mean: Float64 = field(init=False)
    square: Float64 = field(init=False)

    def __post_init__(self) -> None:
        self.steps, self.mean, self.square = (np.zeros_like(self.start) for _ in range(3))

    @property
    def values(self) -> Float64:
        return self.start + self.steps * self.unit

    def step(self, slope: Float64, rate: float, number: int) -> None:
        slope = slope * self.unit
        first, second = _DECAYS
        self.mean += (1 - first) * (slope - self.mean)
        self.square += (1 - second) * (slope * slope - self.square)
        ahead = self.mean / (1 - first**number)
        size = np.sqrt(self.square / (1 - second**number)) + _TINY
        self.steps -= rate * ahead / size


class _Tuner:
    """One run: the network, what it is fed, and what moves."""

    def __init__(
        self,
        before: Graph,
        graph: Graph,
        bits: Bits,
        results: tuple[str, ...],
        pool: ThreadPoolExecutor,
    ) -> None:
        self.graph, self.results, self.pool = graph, results, pool
        self.network = StagedNetwork(graph)
        self.spools = {value: Spool() for value in graph.inputs}
        self.frames = 0
        self.layers = tuple(
            step.outputs[0]
            for step in self.network.steps
            if step.chain is not None and step.outputs[0] not in results
        )
        self.float = FloatSession(before, (*results, *self.layers), threads=1)
        sources = set(graph.inputs)
        self.groups = [
            group.values
            for group in plan_levels(graph, bits)
            if not sources.intersection(group.values)
        ]
        self.moving: dict[tuple[str, str], _Moving] = {}
        for name, affine in self.network.affine.items():
            self.moving["gain", name] = _Moving(affine.gain.copy(), np.ones_like(affine.gain))
            self.moving["bias", name] = _Moving(affine.bias.copy(), self._bias_unit(name))
        for values in self.groups:
            scale = np.asarray([graph.clips[values[0]].scale])
            self.moving["scale", values[0]] = _Moving(scale, scale)

    def _bias_unit(self, name: str) -> Float64:
        """Return what one level of a weight does at full input."""
        node = next(n for n in self.graph.nodes if n.name == name)
        clip = self.graph.clips[node.inputs[0]]
        return self.network.affine[name].steps * clip.scale * clip.element.maximum

    def close(self) -> None:
        for spool in self.spools.values():
            spool.close()

    def run(self, samples: Samples) -> Graph:
        self._read(samples)
        if sum(held.start.size for held in self.moving.values()) > _NUMBERS_A_SAMPLE * self.frames:
            return self.graph
        size = sum(self.graph.tensor(v).size for n in self.graph.nodes for v in n.outputs)
        self.at_once = max(1, min(_ELEMENTS_AT_ONCE // (2 * size), _SAMPLES_AT_ONCE))
        begun = self._loss()
        order = np.arange(self.frames, dtype=np.int64)
        number, steps = 0, _EPOCHS * sum(1 for _ in self._batches(order))
        for epoch in range(_EPOCHS):
            random = np.random.default_rng((0, epoch))
            for rows in self._batches(random.permutation(self.frames)):
                rate = _RATE * 0.5 * (1 + math.cos(math.pi * number / steps))
                number += 1
                self._step(np.sort(rows), rate, number, random)
        return self._written() if self._loss() < begun else self.graph

    def _read(self, samples: Samples) -> None:
        """Keep samples, evenly from all."""
        count = sum(1 for _ in samples())
        every = -(-count // _MOST_SAMPLES)
        for number, sample in enumerate(samples()):
            if number % every:
                continue
            for value, spool in self.spools.items():
                spool.append(np.asarray(sample[value]))
            self.frames += 1

    def _feeds(self, rows: Int64, random: np.random.Generator) -> Mapping[str, Array]:
        """Return what the network is fed for some samples, images shifted."""
        shares = random.uniform(-_SHIFT, _SHIFT, (len(rows), 2))
        found: dict[str, Array] = {}
        for value, spool in self.spools.items():
            height = spool.rows // self.frames
            parts = [spool.read(i * height, (i + 1) * height) for i in rows.tolist()]
            if parts[0].ndim == _IMAGE:
                parts = [
                    shift_image(part, share) for part, share in zip(parts, shares, strict=True)
                ]
            found[value] = np.concatenate(parts)
        return found

    def _wanted(self, feeds: Mapping[str, Array]) -> Mapping[str, Float32]:
        """Return what the float network makes of samples."""
        found = self.float.arrays(feeds)
        return {value: np.asarray(array, np.float32) for value, array in found.items()}

    def _batches(self, order: Int64) -> Iterator[Int64]:
        size = -(-self.frames // _BATCHES)
        for start in range(0, self.frames, size):
            yield order[start : start + size]

    def _pieces(
        self, rows: Int64, random: np.random.Generator
    ) -> Iterator[tuple[Mapping[str, Array], int]]:
        """Yield what the network is fed for parts of a batch, and how many samples that is."""
        for start in range(0, len(rows), self.at_once):
            piece = rows[start : start + self.at_once]
            yield self._feeds(piece, random), len(piece)

    def _loss(self) -> float:
        """Return the mean loss over all samples, in shifts that no step sees."""
        self._set()
        random = np.random.default_rng(1)
        total = 0.0
        for rows in self._batches(np.arange(self.frames, dtype=np.int64)):
            total += sum(self.pool.map(self._piece_loss, self._pieces(rows, random)))
        return total / self.frames

    def _piece_loss(self, piece: tuple[Mapping[str, Array], int]) -> float:
        feeds, count = piece
        wanted, values = self._wanted(feeds), self.network.forward(feeds).values
        total = 0.0
        for value in self.results:
            likely, own = (_log_likely(v) for v in (wanted[value], values[value]))
            total += float((np.exp(likely) * (likely - own)).sum())
        for value in self.layers:
            gap = np.asarray(values[value], np.float32) - wanted[value]
            error = float(np.square(gap).mean(dtype=np.float64)) / _power(wanted[value])
            total += error * count / len(self.layers)
        return total

    def _step(self, rows: Int64, rate: float, number: int, random: np.random.Generator) -> None:
        """Move everything against its gradient over a batch."""
        self._set()
        sums = {key: np.zeros_like(held.start) for key, held in self.moving.items()}
        for slopes in self.pool.map(self._piece_slopes, self._pieces(rows, random)):
            self._add(slopes, sums)
        for key, held in self.moving.items():
            held.step(sums[key] / len(rows), rate, number)

    def _piece_slopes(self, piece: tuple[Mapping[str, Array], int]) -> Slopes:
        """Return the gradients of the loss, summed over samples."""
        feeds, count = piece
        wanted, trace = self._wanted(feeds), self.network.forward(feeds)
        seeds: dict[str, Float32] = {}
        for value in self.results:
            likely, own = (np.exp(_log_likely(v)) for v in (wanted[value], trace.values[value]))
            seeds[value] = (own - likely).astype(np.float32)
        for value in self.layers:
            gap = np.asarray(trace.values[value], np.float32) - wanted[value]
            size = _power(wanted[value]) * gap.size * len(self.layers)
            seeds[value] = gap * np.float32(2 * count / size)
        return self.network.backward(trace, seeds)

    def _add(self, slopes: Slopes, sums: dict[tuple[str, str], Float64]) -> None:
        for name in self.network.affine:
            if name in slopes.gain:
                sums["gain", name] += slopes.gain[name]
                sums["bias", name] += slopes.bias[name]
        for values in self.groups:
            sums["scale", values[0]] += sum(slopes.scale.get(v, 0.0) for v in values)

    def _set(self) -> None:
        """Give the network what has moved."""
        for name, affine in self.network.affine.items():
            affine.gain = np.maximum(self.moving["gain", name].values, _LEAST)
            affine.bias = self.moving["bias", name].values
        for values in self.groups:
            held = self.moving["scale", values[0]]
            scale = float(np.maximum(held.values, _LEAST * held.start)[0])
            self.network.scales.update(dict.fromkeys(values, scale))

    def _written(self) -> Graph:
        types, constants = dict(self.graph.types), dict(self.graph.constants)
        clips: dict[str, Clip] = dict(self.graph.clips)
        for node in self.graph.nodes:
            if node.name not in self.network.affine:
                continue
            moved = self.network.affine[node.name]
            weights, bias = node.inputs[1:3]
            held = self.graph.tensor(weights)
            scales = tuple((np.asarray(held.scale) * moved.gain).tolist())
            types[weights] = TensorType(held.dims, held.element, scales)
            constants[bias] = moved.bias.astype(np.float32)
        for values in self.groups:
            scale = float(np.float32(self.network.scales[values[0]]))
            clips |= {v: dataclasses.replace(clips[v], scale=scale) for v in values}
        return self.graph.replace(types=types, constants=constants, clips=clips)


def shift_image(image: Array, share: Float64) -> Array:
    """Move an image [1, C, H, W] by shares of its height and width, its edges repeated."""
    for axis, part in zip((2, 3), share.tolist(), strict=True):
        size = image.shape[axis]
        moved = np.arange(size, dtype=np.int64) + round(part * size)
        index: Int64 = np.minimum(np.maximum(moved, 0), size - 1)
        image = np.take(image, index, axis=axis)
    return image


def _power(values: Float32) -> float:
    return float(np.var(values, dtype=np.float64)) or 1.0


def _log_likely(scores: Array) -> Float64:
    moved = scores.astype(np.float64)
    moved -= moved.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)))
