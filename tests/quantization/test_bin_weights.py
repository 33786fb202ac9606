"""Weights become levels with a scale a channel, in the alphabet of smaller error."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.bits import parse_bits
from lowbitc.compiler.ir import ops
from lowbitc.passes.bin_weights import BinWeights, bin_rows, channel_rows
from tests.quantization.networks import residual_network


@pytest.mark.parametrize("method", ["mse", "sawb"])
@pytest.mark.parametrize("bits", ["8/4/4", "2/2/2", "8/1/1"])
def test_levels_times_scale_are_near_the_weights(method: str, bits: str) -> None:
    graph = residual_network()
    after = BinWeights(parse_bits(bits), method).run(graph).graph
    for before, node in zip(graph.nodes, after.nodes, strict=True):
        if not isinstance(node, (ops.Conv, ops.Dense)):
            continue
        held = after.tensor(node.inputs[1])
        levels = np.asarray(after.constants[node.inputs[1]], np.int8)
        assert held.levels is not None
        assert set(np.unique(levels)) <= set(held.levels.levels().tolist())
        scale = np.reshape(held.scale, (-1, *(1,) * (levels.ndim - 1)))
        weights = np.asarray(graph.constants[before.inputs[1]], np.float64)
        error = np.sum((levels * scale - weights) ** 2) / np.sum(weights**2)
        assert error < {8: 1e-3, 4: 0.05, 2: 0.3, 1: 0.75}[held.levels.bits]


def test_the_first_layers_have_their_own_width() -> None:
    after = BinWeights(parse_bits("8/2/4")).run(residual_network()).graph
    widths = [
        after.tensor(n.inputs[1]).levels
        for n in after.nodes
        if isinstance(n, (ops.Conv, ops.Dense))
    ]
    assert [w.bits for w in widths if w is not None] == [8, 2, 2, 2, 2, 2, 2]


def test_one_bit_is_the_sign_times_the_mean_magnitude() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (5, 40))
    fit = bin_rows(rows, 1, "mse")
    assert np.array_equal(fit.levels, np.where(rows < 0, -1, 1))
    assert np.allclose(fit.scales, np.abs(rows).mean(axis=1))


def test_rows_of_a_transposed_convolution_are_its_output_channels() -> None:
    random = np.random.default_rng(1)
    weights = random.normal(0, 1, (6, 4, 3, 3)).astype(np.float32)
    node = ops.ConvTranspose(
        name="t",
        inputs=("x", "w"),
        outputs=("y",),
        sources=(),
        kernel=(3, 3),
        stride=(2, 2),
        dilation=(1, 1),
        pads=(0,) * 4,
        output_padding=(0, 0),
        groups=2,
    )
    rows, restore = channel_rows(node, weights)
    assert rows.shape == (8, 27)
    assert np.allclose(rows[5], weights[3:, 1].reshape(-1))
    numbered = (np.arange(rows.size) % 97).astype(np.int8).reshape(rows.shape)
    back = restore(numbered)
    assert back.shape == weights.shape
    again, _ = channel_rows(node, back)
    assert np.array_equal(again, numbered)


def test_weights_that_are_levels_stay_as_they_are() -> None:
    once = BinWeights(parse_bits("8/4/4")).run(residual_network()).graph
    again = BinWeights(parse_bits("8/2/2")).run(once)
    assert not again.changed
    assert again.graph.constants.keys() == once.constants.keys()
