"""Move gains, biases and clips of all layers together, toward the float network's outputs.

Each layer was fitted to its own outputs; what their errors do together shows at the end only. The
levels of weights stay: so there is little to move, which a few hundred samples without labels
settle. The loss is the divergence of class probabilities; rounding passes gradients straight
through, gains and clips learn as in LSQ (arXiv 1902.08153) and PACT (1805.06085), by Adam.
"""

from __future__ import annotations

import dataclasses
import math
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
_EPOCHS = 10
_BATCHES = 16
"""Steps of an epoch: few samples make small batches, not fewer steps."""
_RATE = 0.005
_DECAYS = (0.9, 0.999)
_TINY = 1e-8
_LEAST = 1e-3
_ELEMENTS_AT_ONCE = 1 << 26
_SAMPLES_AT_ONCE = 32
_SCORES = 2


def tune_stages(before: Graph, graph: Graph, bits: Bits, samples: Samples) -> Graph:
    """Return the rounded ``graph`` with moved scales, biases and clips.

    ``before`` is the same network with float weights. What it puts out has to be scores of
    classes; the graph is returned as it is where it is not, where a layer has no gradient, or
    where the loss did not fall.
    """
    results = leaving_values(graph)
    scores = all(
        len(graph.shape(v)) == _SCORES and graph.shape(v)[0] == 1 < graph.shape(v)[1]
        for v in results
    )
    if not (results and scores and can_stage(graph)):
        return graph
    tuner = _Tuner(before, graph, bits, results)
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

    def __init__(self, before: Graph, graph: Graph, bits: Bits, results: tuple[str, ...]) -> None:
        self.before, self.graph, self.results = before, graph, results
        self.network = StagedNetwork(graph)
        self.spools = {value: Spool() for value in graph.inputs}
        self.wanted: dict[str, Float32] = {}
        self.frames = 0
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
        size = sum(self.graph.tensor(v).size for n in self.graph.nodes for v in n.outputs)
        self.at_once = max(1, min(_ELEMENTS_AT_ONCE // (2 * size), _SAMPLES_AT_ONCE))
        begun = self._loss()
        batch = -(-self.frames // _BATCHES)
        number, steps = 0, _EPOCHS * -(-self.frames // batch)
        for epoch in range(_EPOCHS):
            order = np.random.default_rng((0, epoch)).permutation(self.frames)
            for start in range(0, self.frames, batch):
                rate = _RATE * 0.5 * (1 + math.cos(math.pi * number / steps))
                number += 1
                self._step(np.sort(order[start : start + batch]), rate, number)
        return self._written() if self._loss() < begun else self.graph

    def _read(self, samples: Samples) -> None:
        """Keep samples, evenly from all, and the float network's scores."""
        count = sum(1 for _ in samples())
        every = -(-count // _MOST_SAMPLES)
        session = FloatSession(self.before, self.results, threads=1)
        found: dict[str, list[Float32]] = {v: [] for v in self.results}
        for number, sample in enumerate(samples()):
            if number % every:
                continue
            scores = session.run(sample)
            for value, held in found.items():
                held.append(np.asarray(scores[value], np.float32))
            for value, spool in self.spools.items():
                spool.append(np.asarray(sample[value]))
            self.frames += 1
        self.wanted = {value: np.concatenate(held) for value, held in found.items()}

    def _feeds(self, rows: Int64) -> Mapping[str, Array]:
        """Return what the network is fed for some samples."""
        found: dict[str, Array] = {}
        for value, spool in self.spools.items():
            height = spool.rows // self.frames
            parts = [spool.read(i * height, (i + 1) * height) for i in rows.tolist()]
            found[value] = np.concatenate(parts)
        return found

    def _pieces(self, rows: Int64) -> Iterator[Int64]:
        for start in range(0, len(rows), self.at_once):
            yield rows[start : start + self.at_once]

    def _loss(self) -> float:
        """Return the mean divergence over all samples."""
        self._set()
        total = 0.0
        for rows in self._pieces(np.arange(self.frames, dtype=np.int64)):
            values = self.network.forward(self._feeds(rows)).values
            for value, wanted in self.wanted.items():
                likely, own = (_log_likely(v) for v in (wanted[rows], values[value]))
                total += float((np.exp(likely) * (likely - own)).sum())
        return total / self.frames

    def _step(self, rows: Int64, rate: float, number: int) -> None:
        """Move everything against its gradient over a batch."""
        self._set()
        sums = {key: np.zeros_like(held.start) for key, held in self.moving.items()}
        for piece in self._pieces(rows):
            trace = self.network.forward(self._feeds(piece))
            seeds: dict[str, Float32] = {}
            for value, wanted in self.wanted.items():
                likely, own = (np.exp(_log_likely(v)) for v in (wanted[piece], trace.values[value]))
                seeds[value] = ((own - likely) / len(rows)).astype(np.float32)
            self._add(self.network.backward(trace, seeds), sums)
        for key, held in self.moving.items():
            held.step(sums[key], rate, number)

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


def _log_likely(scores: Array) -> Float64:
    moved = scores.astype(np.float64)
    moved -= moved.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)))
