"""Integer graphs compute what the float graph does, within what their bits allow."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.elements import I8, I32, U2, U4, U8, LevelType
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.engines.fast import FastLaunch
from lowbitc.targets.engines.reference import ReferenceLaunch
from tests.quantization.compiling import float_outputs, integer_graph, signal_to_noise
from tests.quantization.networks import Builder, residual_network


def _inputs(shape: tuple[int, ...], count: int = 24) -> np.ndarray:
    random = np.random.default_rng(11)
    return random.normal(0, 1, (count * shape[0], *shape[1:])).astype(np.float32)


@pytest.mark.parametrize(
    ("bits", "decibels"), [("8/8/8", 30), ("8/8/4", 13), ("8/4/4", 12), ("8/4/8", 15)]
)
def test_a_residual_network_stays_close_to_float(bits: str, decibels: float) -> None:
    graph = residual_network()
    x = _inputs((1, 3, 12, 12))
    quantized = integer_graph(graph, bits)
    found = ReferenceLaunch(quantized).run({"x": x})[graph.outputs[0]]
    assert signal_to_noise(float_outputs(graph, x), found) > decibels


@pytest.mark.parametrize("bits", ["8/8/8", "8/4/4", "8/2/4", "2/2/2", "8/1/4", "1/1/1"])
@pytest.mark.parametrize("seed", [0, 1])
def test_both_engines_give_the_same_bits(bits: str, seed: int) -> None:
    graph = residual_network(seed)
    quantized = integer_graph(graph, bits)
    x = _inputs((1, 3, 12, 12), 9)
    wanted = ReferenceLaunch(quantized).run({"x": x})
    for threads in (1, 2):
        found = FastLaunch(quantized, threads).run({"x": x})
        for name, array in wanted.items():
            assert array.dtype == found[name].dtype
            assert np.array_equal(array, found[name])


def test_outputs_without_a_relu_are_signed_8_bit_whatever_the_activations() -> None:
    quantized = integer_graph(residual_network(), "8/2/2")
    elements: dict[str, set[LevelType | None]] = {}
    for node in quantized.nodes:
        elements.setdefault(node.op, set()).add(quantized.tensor(node.outputs[0]).levels)
    assert elements["QConv"] == {U2, I8}
    assert elements["QAdd"] == {I8}
    assert elements["QAveragePool"] == {U8}
    assert elements["QDense"] == {I32}


def test_relu_levels_have_the_activations_width() -> None:
    quantized = integer_graph(residual_network(), "8/4/4")
    stages = {n.stage for n in quantized.nodes if isinstance(n, q.QConv)}
    assert stages == {q.Stage.THRESHOLDS, q.Stage.REQUANTIZE}
    widths = [quantized.tensor(n.outputs[0]).levels for n in quantized.nodes if n.op == "QConv"]
    assert widths.count(U4) == 4
    assert widths.count(I8) == 2


def test_logits_leave_the_chip_as_sums() -> None:
    quantized = integer_graph(residual_network(), "8/8/8")
    last = [n for n in quantized.nodes if isinstance(n, q.StagedNode)][-1]
    assert last.stage is q.Stage.ACCUMULATOR
    assert len(quantized.tensor(last.outputs[0]).scale) == 10


@pytest.mark.parametrize("bits", ["8/8/8", "8/4/4"])
def test_batch_norm_after_a_relu_is_right_at_the_padded_border(bits: str) -> None:
    """Zero padding means 0 after the batch norm, whatever the shift; negative scales included."""
    net = Builder((1, 2, 9, 9), 3)
    scale = np.array([0.7, -1.3, 1.1, -0.4, 0.9, 1.6])
    shift = np.array([0.3, 0.8, -0.5, 0.1, -0.9, 0.4])
    normed = net.scale_shift(net.relu(net.conv("x", 6)), scale, shift)
    graph = net.graph(net.conv(normed, 5))
    quantized = integer_graph(graph, bits)
    assert not any(isinstance(n, ops.ScaleShift) for n in quantized.nodes)
    x = _inputs((1, 2, 9, 9))
    wanted = float_outputs(graph, x)
    found = ReferenceLaunch(quantized).run({"x": x})[graph.outputs[0]]
    border = np.ones((9, 9), bool)
    border[1:-1, 1:-1] = False
    least = 30 if bits == "8/8/8" else 14
    assert signal_to_noise(wanted[..., border], found[..., border]) > least
    assert signal_to_noise(wanted, found) > least


def test_a_loose_scale_and_shift_becomes_a_depthwise_layer() -> None:
    net = Builder((1, 4, 6, 6), 5)
    first = net.relu(net.conv("x", 4))
    second = net.relu(net.conv("x", 4))
    loose = net.scale_shift(net.add(first, second), np.array([1.0, -2, 0.5, 1]), np.ones(4))
    graph = net.graph(net.conv(loose, 3))
    quantized = integer_graph(graph, "8/8/8")
    assert [n.groups for n in quantized.nodes if isinstance(n, q.QConv)] == [1, 1, 4, 1]
    x = _inputs((1, 4, 6, 6))
    found = ReferenceLaunch(quantized).run({"x": x})[graph.outputs[0]]
    assert signal_to_noise(float_outputs(graph, x), found) > 28


def test_silu_goes_through_a_table_and_concat_shares_a_scale() -> None:
    net = Builder((1, 3, 8, 8), 2)
    a = net.silu(net.conv("x", 6))
    b = net.silu(net.conv("x", 10, kernel=1, pad=0))
    graph = net.graph(net.conv(net.concat(a, b), 4))
    quantized = integer_graph(graph, "8/8/8")
    tabled = [n for n in quantized.nodes if isinstance(n, q.QConv) and n.table]
    assert len(tabled) == 2
    assert len({quantized.tensor(n.outputs[0]).scale for n in tabled}) == 1
    x = _inputs((1, 3, 8, 8))
    wanted = ReferenceLaunch(quantized).run({"x": x})[graph.outputs[0]]
    assert signal_to_noise(float_outputs(graph, x), wanted) > 28
    assert np.array_equal(FastLaunch(quantized, 1).run({"x": x})[graph.outputs[0]], wanted)


def test_concat_of_different_levels_rescales_through_tables() -> None:
    net = Builder((1, 3, 8, 8), 4)
    a = net.relu(net.conv("x", 4))
    b = net.conv("x", 4)
    graph = net.graph(net.conv(net.concat(a, b), 4))
    quantized = integer_graph(graph, "8/8/8")
    assert any(isinstance(n, q.QTable) for n in quantized.nodes)
    x = _inputs((1, 3, 8, 8))
    wanted = ReferenceLaunch(quantized).run({"x": x})[graph.outputs[0]]
    assert signal_to_noise(float_outputs(graph, x), wanted) > 28


def test_every_sample_gives_the_same_bits_alone_and_in_a_batch() -> None:
    quantized = integer_graph(residual_network(), "8/4/4")
    launch = FastLaunch(quantized, 2)
    x = _inputs((1, 3, 12, 12), 7)
    together = launch.run({"x": x})[quantized.outputs[0]]
    alone = [launch.run({"x": x[i : i + 1]})[quantized.outputs[0]] for i in range(7)]
    assert np.array_equal(together, np.concatenate(alone))


def test_sources_of_every_float_node_survive() -> None:
    graph = residual_network()
    quantized = integer_graph(graph, "8/4/4")
    kept = {s for n in quantized.nodes for s in n.sources}
    assert kept == {s for n in graph.nodes for s in n.sources}
