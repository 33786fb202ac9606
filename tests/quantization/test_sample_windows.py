"""Rows are what a layer reads, few enough, and the same in any batch."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir import ops
from lowbitc.passes.bin_weights import channel_rows
from lowbitc.passes.sample_windows import (
    Sampling,
    gather_outputs,
    gather_windows,
    sample_rows,
    windows_of,
)
from tests.quantization.networks import Builder


@pytest.mark.parametrize(
    "kind", ["plain", "strided", "grouped", "depthwise", "transposed", "dense"]
)
def test_rows_times_weights_are_the_layers_sums(kind: str) -> None:
    net = Builder((1, 6, 9, 8))
    if kind == "transposed":
        kernels = net.constant("w", net.random.normal(0, 1, (6, 2, 3, 2)))
        value = net.put(
            ops.ConvTranspose(
                **net.base("ConvTranspose", "x", kernels),
                kernel=(3, 2),
                stride=(2, 3),
                dilation=(2, 1),
                pads=(1, 0, 2, 1),
                output_padding=(1, 0),
                groups=3,
            ),
            (1, 6, 19, 22),
        )
    elif kind == "dense":
        value = net.dense(net.flat("x"), 5)
    else:
        groups = {"grouped": 2, "depthwise": 6}.get(kind, 1)
        value = net.conv("x", 12, stride=2 if kind == "strided" else 1, groups=groups)
    graph = net.graph(value)
    node = graph.nodes[-1]
    levels = np.random.default_rng(0).integers(0, 16, (5, 6, 9, 8)).astype(np.uint8)
    outputs = FloatSession(graph, threads=1).arrays({"x": levels.astype(np.float32)})[value]
    windows = windows_of(graph, node)
    taken, chosen = Sampling(windows.positions, min(7, windows.positions), 1).choose(0, 5)
    seen = levels.reshape(5, -1) if kind == "dense" else levels
    rows = gather_windows(windows, seen[taken], chosen)
    flat, _ = channel_rows(node, graph.constants[node.inputs[1]])
    weights = flat.reshape(windows.groups, windows.outputs, windows.inputs)
    sums = np.einsum("mgk,gok->mgo", rows.astype(np.float64), weights)
    if len(node.inputs) > 2:
        sums += graph.constants[node.inputs[2]].reshape(windows.groups, windows.outputs)
    assert np.allclose(gather_outputs(windows, outputs[taken], chosen), sums, atol=1e-3)


def test_a_frame_has_the_same_positions_in_any_batch() -> None:
    sampling = Sampling(100, 7, 3)
    taken, whole = sampling.choose(0, 20)
    assert list(range(20))[taken] == [0, 3, 6, 9, 12, 15, 18]
    parts = [sampling.choose(first, 4) for first in range(0, 20, 4)]
    assert np.array_equal(np.concatenate([chosen for _, chosen in parts]), whole)
    assert [n for first in range(0, 20, 4) for n in range(first, first + 4)[parts[first // 4][0]]]
    assert (np.diff(whole, axis=1) > 0).all()
    assert whole.max() < 100


def test_positions_cover_the_frame_evenly() -> None:
    _, chosen = Sampling(64, 2, 1).choose(0, 6400)
    counts = np.bincount(chosen.reshape(-1), minlength=64)
    assert counts.min() > 150
    assert counts.max() < 250


@pytest.mark.parametrize("frames", [10, 1_000, 100_000, 1_000_000])
def test_the_number_of_rows_does_not_grow_with_the_samples(frames: int) -> None:
    net = Builder((1, 64, 16, 16))
    graph = net.graph(net.conv("x", 64))
    sampling = sample_rows(windows_of(graph, graph.nodes[0]), frames)
    rows = frames * sampling.count // sampling.every
    assert rows <= 1.5 * 2**15
    assert rows >= min(frames * 256, 2**14)
