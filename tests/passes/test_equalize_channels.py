"""Equalizing channels changes no output, and evens out what few levels must hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.bits import parse_bits
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.verify import verify
from lowbitc.compiler.statistics.channel_steps import Reading, choose_steps
from lowbitc.passes import equalize_channels as equalizing
from lowbitc.passes.equalize_channels import EqualizeChannels
from tests.quantization.networks import Builder, residual_network, samples

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64
    from lowbitc.compiler.ir.graph import Graph


def step(graph: Graph, bits: str = "8/2/2") -> EqualizeChannels:
    shape = graph.shape("x")
    return EqualizeChannels(lambda: samples(16, shape), parse_bits(bits))


def uneven(*, capped: bool = False) -> Graph:
    """Return a network whose first layer has channels of very different size."""
    net = Builder((1, 3, 12, 12))
    first = net.conv("x", 6)
    sizes = np.array([4, 1, 0.25, 2, 0.5, 1], np.float32).reshape(-1, 1, 1, 1)
    net.constants["w0"] = np.asarray(net.constants["w0"], np.float32) * sizes
    if capped:
        base = net.base("Clamp", first)
        first = net.put(
            ops.Clamp(**base, low=0.0, high=1.5),
            net.types[first].dims,
        )
    else:
        first = net.relu(first)
    deep = net.relu(net.conv(net.max_pool(first), 6, groups=6))
    return net.graph(net.dense(net.flat(deep), 5))


def residual(*, leaves: bool) -> tuple[Graph, tuple[str, str]]:
    """Return a network with an uneven stream, and what is in front of and behind its Add."""
    net = Builder((1, 3, 12, 12))
    first = net.conv("x", 4)
    spread = np.array([4, 1, 0.25, 1], np.float32)
    net.constants["w0"] = np.asarray(net.constants["w0"], np.float32) * spread.reshape(-1, 1, 1, 1)
    net.constants["b0"] = np.asarray(net.constants["b0"], np.float32) * spread
    first = net.relu(first)
    summed = net.relu(net.add(net.conv(first, 4), first))
    last = summed if leaves else net.relu(net.conv(summed, 4))
    return net.graph(last), (first, summed)


def sizes(graph: Graph, value: str) -> Float64:
    found = FloatSession(graph, [value], threads=1).arrays(
        {"x": np.concatenate([s["x"] for s in samples()])}
    )[value]
    return np.asarray(np.sqrt((np.asarray(found, np.float64) ** 2).mean(axis=(0, 2, 3))))


@pytest.mark.parametrize(
    "graph",
    [uneven(), uneven(capped=True), residual_network(), residual(leaves=False)[0]],
)
def test_the_function_stays(graph: Graph) -> None:
    result = step(graph).run(graph)
    assert result.changed
    assert list(verify(result.graph)) == []
    x = {"x": np.random.default_rng(5).normal(size=(6, 3, 12, 12)).astype(np.float32)}
    wanted, found = (
        np.asarray(FloatSession(g, threads=1).arrays(x)[graph.outputs[0]], np.float64)
        for g in (graph, result.graph)
    )
    assert np.abs(wanted - found).max() <= 2e-5 * np.abs(wanted).max()
    assert [n.sources for n in result.graph.nodes] == [n.sources for n in graph.nodes]


def test_channels_in_front_of_a_depthwise_layer_become_alike() -> None:
    graph = uneven()
    value = graph.nodes[1].outputs[0]
    before, after = sizes(graph, value), sizes(step(graph).run(graph).graph, value)
    assert before.max() / before.min() > 6
    assert after.max() / after.min() < 2


def test_channels_that_coarse_weights_read_stay_nearer_to_what_they_were() -> None:
    net = Builder((1, 3, 12, 12))
    first = net.conv("x", 6)
    spread = np.array([4, 1, 0.25, 2, 0.5, 1], np.float32).reshape(-1, 1, 1, 1)
    net.constants["w0"] = np.asarray(net.constants["w0"], np.float32) * spread
    value = net.relu(first)
    graph = net.graph(net.relu(net.conv(value, 6)))
    ratios: list[float] = []
    for bits in ("8/1/4", "8/8/4"):
        after = sizes(step(graph, bits).run(graph).graph, value)
        ratios.append(float(after[0] / after[2]))
    assert ratios[0] > 1.3 * ratios[1]


def test_a_residual_stream_that_leaves_is_left_alone() -> None:
    graph, _ = residual(leaves=True)
    assert not step(graph).run(graph).changed


def test_a_residual_stream_becomes_alike_as_a_whole() -> None:
    graph, values = residual(leaves=False)
    after = step(graph, "8/8/2").run(graph).graph
    gains = [np.asarray(after.gains[value]) for value in values]
    assert np.array_equal(gains[0], gains[1])
    assert gains[0].max() / gains[0].min() > 3
    for value in values:
        before, found = sizes(graph, value), sizes(after, value)
        assert found.max() / found.min() < 0.7 * before.max() / before.min()


def test_an_error_in_front_of_an_add_also_costs_what_it_costs_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph, _ = residual(leaves=False)
    taken: list[Reading] = []

    def choose(*readings: Reading) -> Float64:
        taken.extend(readings)
        return choose_steps(*readings)

    monkeypatch.setattr(equalizing, "choose_steps", choose)
    step(graph, "8/8/2").run(graph)
    summed, first = taken[:2]  # those behind come first
    # A value's own reader costs 1 for an error as large as the value.
    for reading, energy in ((summed, summed.energy), (first, first.energy - summed.energy)):
        power = np.square(reading.rows, dtype=np.float64).mean(axis=1)
        assert float((energy * power).sum()) == pytest.approx(1)


def test_a_residual_stream_of_more_than_two_bits_is_left_alone() -> None:
    graph, values = residual(leaves=False)
    after = step(graph, "8/8/4").run(graph).graph
    assert not set(values).intersection(after.gains)


def test_activations_of_eight_bits_are_left_alone() -> None:
    graph = uneven()
    wide = EqualizeChannels(samples, parse_bits("8/2/8"))
    assert wide.run(graph).graph is graph


@pytest.mark.parametrize("graph", [uneven(), residual_network(), residual(leaves=False)[0]])
def test_the_gains_say_what_values_were_multiplied_by(graph: Graph) -> None:
    after = step(graph).run(graph).graph
    x = {"x": np.random.default_rng(5).normal(size=(2, 3, 12, 12)).astype(np.float32)}
    values = tuple(after.gains)
    assert values
    before, found = (FloatSession(g, values, threads=1).arrays(x) for g in (graph, after))
    for value in values:
        gains = np.asarray(after.gains[value]).reshape(1, -1, *(1,) * (before[value].ndim - 2))
        wanted = np.asarray(before[value], np.float64) * gains
        assert np.allclose(np.asarray(found[value], np.float64), wanted, atol=1e-4)
