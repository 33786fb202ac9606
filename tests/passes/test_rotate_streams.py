"""Rotating linear streams changes no output, and leaves weights without large ones."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.bits import parse_bits
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.verify import verify
from lowbitc.passes.rotate_streams import (
    RotateStreams,
    find_streams,
    rotate_again,
    rotation,
    stream_signs,
)
from tests.quantization.networks import Builder, residual_network

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float32
    from lowbitc.compiler.ir.graph import Graph

FEW = RotateStreams(parse_bits("8/2/4"))


def values(graph: Graph, names: tuple[str, ...]) -> dict[str, Float32]:
    x = np.random.default_rng(5).normal(size=(4, *graph.shape("x")[1:])).astype(np.float32)
    found = FloatSession(graph, names, threads=1).arrays({"x": x})
    return {name: np.asarray(array, np.float32) for name, array in found.items()}


def test_the_function_stays() -> None:
    graph = residual_network()
    result = FEW.run(graph)
    assert result.changed
    assert list(verify(result.graph)) == []
    wanted, found = (values(g, g.outputs)[g.outputs[0]] for g in (graph, result.graph))
    assert np.abs(wanted - found).max() <= 2e-5 * np.abs(wanted).max()
    assert [n.sources for n in result.graph.nodes] == [n.sources for n in graph.nodes]


def test_rotated_values_are_the_users_in_another_basis() -> None:
    graph = residual_network()
    after = FEW.run(graph).graph
    assert len(after.rotated) == 3
    before, found = (values(g, after.rotated) for g in (graph, after))
    for value in after.rotated:
        turned = np.moveaxis(np.tensordot(rotation(stream_signs(8)), before[value], (1, 1)), 0, 1)
        assert np.allclose(found[value], turned, atol=1e-4)
        assert not np.allclose(found[value], before[value], atol=0.1)


def peak(weights: Float32) -> float:
    """Return how far the largest weight of a row stands out, on average."""
    rows = weights.reshape(len(weights), -1)
    return float((np.abs(rows).max(axis=1) / rows.std(axis=1)).mean())


def test_a_large_weight_is_spread() -> None:
    graph = residual_network()
    (stream,) = find_streams(graph)
    name = stream.readers[0].inputs[1]
    weights = np.array(graph.constants[name], np.float32)
    weights[:, 0] *= 10
    after = FEW.run(graph.replace(constants={**graph.constants, name: weights})).graph
    node = next(n for n in after.nodes if n.name == stream.readers[0].name)
    turned = np.asarray(after.constants[node.inputs[1]], np.float32)
    assert peak(turned) < 0.8 * peak(weights)


@pytest.mark.parametrize("channels", [1, 5, 24])
def test_the_basis_is_orthogonal(channels: int) -> None:
    matrix = rotation(stream_signs(channels))
    assert np.allclose(matrix @ matrix.T, np.eye(channels), atol=1e-12)


def test_the_same_streams_turn_again_by_name() -> None:
    graph = residual_network()
    once = FEW.run(graph).graph
    again = rotate_again(graph, once.rotated)
    assert again.rotated == once.rotated
    assert all(np.array_equal(a, again.constants[v]) for v, a in once.constants.items())
    assert rotate_again(graph, ()).nodes == graph.nodes
    assert rotate_again(graph, once.rotated[:1]).nodes == graph.nodes


def test_streams_stay_where_all_weights_have_four_bits_or_more() -> None:
    graph = residual_network()
    assert RotateStreams(parse_bits("8/4/4")).run(graph).graph is graph


def read_by_a_pool() -> Graph:
    net = Builder((1, 3, 12, 12))
    return net.graph(net.dense(net.flat(net.mean(net.conv("x", 8))), 5))


def put_out() -> Graph:
    net = Builder((1, 3, 12, 12))
    made = net.conv("x", 8)
    return net.graph(made, net.conv(made, 4))


def clipped_sum() -> Graph:
    net = Builder((1, 3, 12, 12))
    made = net.conv("x", 8)
    return net.graph(net.conv(net.relu(net.add(made, net.conv("x", 8))), 4))


def written_by_a_depthwise_layer() -> Graph:
    net = Builder((1, 3, 12, 12))
    made = net.conv(net.relu(net.conv("x", 8)), 8, groups=8)
    return net.graph(net.relu(net.conv(made, 4)))


def on_the_host() -> Graph:
    graph = residual_network()
    add = next(n for n in graph.nodes if isinstance(n, ops.Add))
    return dataclasses.replace(graph, host_reasons={add.name: "asked for"})


@pytest.mark.parametrize(
    "graph",
    [
        read_by_a_pool(),
        put_out(),
        clipped_sum(),
        written_by_a_depthwise_layer(),
        on_the_host(),
    ],
)
def test_what_anything_but_linear_layers_touches_stays(graph: Graph) -> None:
    assert FEW.run(graph).graph is graph
