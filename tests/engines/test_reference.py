"""The reference engine does what the integer contract says, operator by operator."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.elements import I8, I32, ODD2, U1, U4, U8
from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.engines.reference import ReferenceLaunch
from tests.program.graphs import Net, every_operator, inputs, program

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32, Int64
    from lowbitc.compiler.ir.graph import Graph


def run(net: Net, output: str, x: Array) -> Array:
    return ReferenceLaunch(net.graph(output)).run({"x": x})[output]


def levels_of(x: Float32) -> Int64:
    return np.clip(np.rint(x / np.float32(0.02)), 0, 255).astype(np.int64)


def test_quantize_rounds_half_to_even_and_clamps() -> None:
    net = Net((1, 1, 1, 6))
    x = np.array([-1, 0.5, 1.5, 2.5, 254.5, 300], np.float32).reshape(1, 1, 1, 6)
    made = run(net, net.quantize(scale=1.0), x)
    assert made.dtype == np.uint8
    assert made.ravel().tolist() == [0, 0, 2, 2, 254, 255]


def test_a_convolution_counts_the_thresholds_that_its_sum_reaches() -> None:
    net = Net((1, 2, 4, 4))
    out = net.conv(net.quantize(), 3, stride=2, weight=ODD2)
    x = np.random.default_rng(0).uniform(-1, 5, (2, 2, 4, 4)).astype(np.float32)
    levels = levels_of(x)
    node = net.nodes[-1]
    w, rows = (net.constants[v].astype(np.int64) for v in node.inputs[1:])
    padded = np.pad(levels, ((0, 0), (0, 0), (1, 1), (1, 1)))
    made = run(net, out, x)
    for frame, channel, y, z in np.ndindex(made.shape):
        window = padded[frame, :, 2 * y : 2 * y + 3, 2 * z : 2 * z + 3]
        total = int((window * w[channel]).sum())
        assert made[frame, channel, y, z] == sum(t <= total for t in rows[channel].tolist())


def test_requantize_multiplies_shifts_rounds_half_up_and_clamps_by_channel() -> None:
    net = Net((1, 2, 3, 3))
    out = net.conv(net.quantize(), 4, kernel=(1, 1), pad=0, out=I8)
    x = np.random.default_rng(1).uniform(0, 5, (1, 2, 3, 3)).astype(np.float32)
    w, *parts = (net.constants[v].astype(np.int64) for v in net.nodes[-1].inputs[1:])
    bias, multiplier, shift, low, high = parts
    made = run(net, out, x)
    for channel in range(4):
        sums = (levels_of(x)[0] * w[channel]).sum(axis=0)
        for total, found in zip(sums.ravel().tolist(), made[0, channel].ravel(), strict=True):
            scaled = (total + int(bias[channel])) * int(multiplier[channel])
            rounded = (scaled + (1 << int(shift[channel]) - 1)) >> int(shift[channel])
            assert found == min(max(rounded, int(low[channel])), int(high[channel]))


def test_a_table_follows_the_requantized_level() -> None:
    net = Net((1, 2, 3, 3))
    stem = net.quantize()
    out = net.conv(stem, 4, kernel=(1, 1), pad=0, out=U8, middle=I8)
    x = np.random.default_rng(1).uniform(0, 5, (1, 2, 3, 3)).astype(np.float32)
    made = run(net, out, x)
    node = net.nodes[-1]
    table = net.constants[node.inputs[-1]]
    assert isinstance(node, q.QConv)
    plain = dataclasses.replace(node, inputs=node.inputs[:-1], table=False, middle=None)
    net.nodes[-1] = plain
    net.types[out] = dataclasses.replace(net.types[out], element=I8)
    assert np.array_equal(made, table[run(net, out, x).astype(np.int64) + 128])


def test_sums_leave_with_their_bias_and_are_scaled_by_channel() -> None:
    net = Net((1, 6))
    sums = net.dense(net.quantize(), 3)
    out = net.dequantize(sums)
    x = np.random.default_rng(2).uniform(0, 5, (4, 6)).astype(np.float32)
    w, bias = (net.constants[v].astype(np.int64) for v in net.nodes[1].inputs[1:])
    expected = levels_of(x) @ w.T + bias
    made = run(net, sums, x)
    assert made.dtype == np.int32
    assert np.array_equal(made, expected)
    scale = np.asarray(net.types[sums].scale, np.float32)
    assert np.array_equal(run(net, out, x), expected.astype(np.float32) * scale)


def test_add_scales_both_operands_and_rounds_half_up() -> None:
    net = Net((1, 1, 1, 4))
    a = net.quantize(scale=1.0)
    out = net.add(a, a)
    x = np.array([0, 1, 2, 200], np.float32).reshape(1, 1, 1, 4)
    expected = [min((v * 2000 + 512) >> 10, 127) for v in (0, 1, 2, 200)]
    assert run(net, out, x).ravel().tolist() == expected


def test_max_pool_never_lets_padding_win() -> None:
    net = Net((1, 1, 3, 3))
    signed = net.quantize(element=I8, scale=1.0)
    out = net.max_pool(signed)
    x = np.full((1, 1, 3, 3), -7, np.float32)
    assert run(net, out, x).ravel().tolist() == [-7, -7, -7, -7]


def test_reshape_keeps_samples_apart() -> None:
    net = Net((2, 2, 3))
    frames = net.quantize(scale=1.0)
    out = net.moved(q.QReshape, frames, (1, 12), shape=(1, 12))
    x = np.arange(36, dtype=np.float32).reshape(6, 2, 3)
    assert np.array_equal(run(net, out, x), np.arange(36).reshape(3, 12))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_n_samples_at_once_give_what_each_gives_alone(count: int) -> None:
    graph: Graph = program(every_operator()).launches[0].graph
    x = inputs(count)["x"]
    together = ReferenceLaunch(graph).run({"x": x})
    for index in range(count):
        alone = ReferenceLaunch(graph).run({"x": x[index : index + 1]})
        for name, array in alone.items():
            assert np.array_equal(together[name][index : index + 1], array), name


def test_one_bit_levels_pass_through_one_threshold() -> None:
    net = Net((1, 4))
    out = net.dense(net.quantize(), 3, out=U1)
    x = np.random.default_rng(3).uniform(0, 5, (6, 4)).astype(np.float32)
    w, rows = (net.constants[v].astype(np.int64) for v in net.nodes[1].inputs[1:])
    assert np.array_equal(run(net, out, x), (levels_of(x) @ w.T >= rows[:, 0]).astype(np.uint8))


def test_accumulators_are_of_the_type_that_the_graph_says() -> None:
    net = Net((1, 4))
    assert net.types[net.dense(net.quantize(), 3)].element == I32
    assert U4.maximum == 15
