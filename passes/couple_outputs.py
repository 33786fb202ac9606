"""Measure how errors of a layer's outputs add up in what the chip puts out.

Near the float network, a change z of the scores moves the divergence of class probabilities by
zᵀ F z / 2, with F = Σ_c p_c (e_c - p)(e_c - p)ᵀ. Random signs over the classes give vectors v with
E v vᵀ = F; run backward through the network, they become gradients g of every layer's outputs, and
E g gᵀ is what the divergence makes of errors there. Values that are no scores count by their
squares. Labels are not needed, and nothing is trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import reads
from lowbitc.compiler.ir.groups import WEIGHTED
from lowbitc.compiler.statistics.moments import on_grid
from lowbitc.passes.back_propagate import Backward
from lowbitc.passes.chains import leaving_values, on_device
from lowbitc.passes.replay import LOSSES
from lowbitc.passes.sample_windows import Windows, windows_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lowbitc.compiler.elements import Array, Float32, Float64
    from lowbitc.passes.replay import Replay

_SAMPLES = 512
_PROBES = 4
_TEMPERATURE = 2.0
"""Rounding at few bits moves scores far: what float is sure of counts, too."""
_RIDGE = 0.1
_POSITIONS = 64
_GRID_BITS = 20
"""Products of 40 bits leave room for 2^13 exact sums: 32 samples of 64 positions and more."""
_ELEMENTS_AT_ONCE = 1 << 25
_SAMPLES_AT_ONCE = 32
_SCORES = 2


def couple_outputs(replay: Replay, layers: set[str]) -> Mapping[str, Float64]:
    """Return E g gᵀ [O, O] by layer, of mean 1 on the diagonal, and a ridge of 0.1 + O/M besides.

    O/M stands for what M samples cannot tell about pairs of O outputs. Layers of one group only,
    and those that a gradient reaches (see ``back_propagate``). None where the CPU's part of the
    network cannot be run.
    """
    graph = replay.graph
    windows = {
        node.outputs[0]: windows_of(graph, node)
        for node in graph.nodes
        if node.name in layers and isinstance(node, WEIGHTED)
    }
    windows = {value: held for value, held in windows.items() if held.groups == 1}
    sums = {value: np.zeros((held.outputs, held.outputs)) for value, held in windows.items()}
    if not sums:
        return {}
    try:
        for found in _gradients(replay, set(sums)):
            for value, gradient in found.items():
                sums[value] += _second(windows[value], gradient)
    except LOSSES:
        return {}
    samples = min(replay.frames, _SAMPLES)
    return {
        windows[value].node.name: second / mean
        + (_RIDGE + len(second) / samples) * np.eye(len(second))
        for value, second in sums.items()
        if (mean := float(np.diagonal(second).mean())) > 0
    }


def _gradients(replay: Replay, wanted: set[str]) -> Iterator[Mapping[str, Float32]]:
    """Yield gradients of wanted values, joined over some samples, probe after probe."""
    graph = replay.graph
    chip = on_device(graph)
    fetch = tuple(dict.fromkeys(v for n in chip for v in (*reads(n), *n.outputs) if v))
    results = leaving_values(graph)
    session, backward = FloatSession(graph, fetch, threads=1), Backward(graph)
    random = np.random.default_rng(0)
    size = sum(graph.tensor(v).size for v in fetch)
    most = max(1, min(_ELEMENTS_AT_ONCE // max(size, 1), _SAMPLES_AT_ONCE))
    frames = range(0, replay.frames, -(-replay.frames // _SAMPLES))
    for start in range(0, len(frames), most):
        taken = frames[start : start + most]
        feeds = {
            v: np.concatenate([replay.read_float(v, i, i + 1) for i in taken]) for v in graph.inputs
        }
        values = session.run(feeds)
        arrays = {v: held for v, held in values.items() if isinstance(held, np.ndarray)}
        for _ in range(_PROBES):
            seeds = {v: _seed(arrays[v], random) for v in results}
            yield backward.run(seeds, arrays, wanted)


def _seed(values: Array, random: np.random.Generator) -> Float32:
    """Return vectors v, one a sample, whose mean v vᵀ is what the loss makes of the values."""
    signs = random.integers(0, 2, values.shape) * 2.0 - 1.0
    if values.ndim != _SCORES or values.shape[1] == 1:
        return np.asarray(signs / (float(values.std(dtype=np.float64)) or 1.0), np.float32)
    scores = values.astype(np.float64) / _TEMPERATURE
    likely = np.exp(scores - scores.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    drawn = np.sqrt(likely) * signs
    return np.asarray(drawn - likely * drawn.sum(axis=1, keepdims=True), np.float32)


def _second(windows: Windows, gradient: Float32) -> Float64:
    """Return Σ g gᵀ [O, O] over some positions of every sample, exactly."""
    if isinstance(windows.node, ops.Dense):
        rows = gradient.reshape(-1, windows.outputs)
    else:
        by_position = np.moveaxis(gradient, 1, -1).reshape(len(gradient), -1, windows.outputs)
        step = -(-by_position.shape[1] // _POSITIONS)
        rows = by_position[:, ::step].reshape(-1, windows.outputs)
    whole = on_grid(rows, float(np.abs(rows).max(initial=0.0)), _GRID_BITS)
    return np.asarray(whole.T @ whole)
