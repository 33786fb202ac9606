"""Gradients against finite differences, through every kind of node that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Stage
from lowbitc.passes.back_propagate import Backward
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.elements import Array, Float32
    from lowbitc.compiler.ir.graph import Graph

_COUNT = 3
_STEP = 1e-3


def behind(graph: Graph, value: str) -> Graph:
    """Return the part of a graph that reads ``value``, as a graph of that input."""
    held = graph.replace(inputs=(value,), stage=Stage.FOLDED)
    return held.replace(nodes=tuple(n for n in graph.nodes if value not in n.outputs)).pruned()


def known(graph: Graph, value: str) -> tuple[Float32 | None, float, float]:
    """Return the gradient, its product with a direction, and the difference along it."""
    (output,) = graph.outputs
    random = np.random.default_rng(1)
    x = {
        v: random.normal(size=(_COUNT, *graph.shape(v)[1:])).astype(np.float32)
        for v in graph.inputs
    }
    made = [v for node in graph.nodes for v in node.outputs]
    values: dict[str, Array] = {**x, **FloatSession(graph, made, threads=1).arrays(x)}
    seed = random.normal(size=values[output].shape).astype(np.float32)
    gradient = Backward(graph).run({output: seed}, values, {value}).get(value)
    rest = FloatSession(behind(graph, value), threads=1)
    at = np.asarray(values[value], np.float32)
    direction = random.normal(size=at.shape).astype(np.float32)
    ends = [
        np.asarray(rest.arrays({value: at + s * direction})[output], np.float64)
        for s in (_STEP, -_STEP)
    ]
    slope = float(((ends[0] - ends[1]) * seed).sum() / (2 * _STEP))
    product = 0.0 if gradient is None else float((gradient * direction).sum(dtype=np.float64))
    return gradient, product, slope


def plain(net: Net, x: str) -> str:
    return net.conv(x, 4, pads=1)


def strided(net: Net, x: str) -> str:
    return net.conv(x, 5, 3, stride=2, pads=(0, 1, 1, 1))


def widely_padded(net: Net, x: str) -> str:
    return net.conv(x, 5, 1, stride=2, pads=2)


def grouped(net: Net, x: str) -> str:
    return net.conv(x, 6, 3, pads=1, groups=3)


def depthwise(net: Net, x: str) -> str:
    return net.conv(x, 3, 5, stride=2, pads=2, groups=3)


def clipped(net: Net, x: str) -> str:
    return net.clamp(net.relu(x), 0.2, 1.1)


def pooled(net: Net, x: str) -> str:
    return net.pool(ops.MaxPool, x, 3, stride=2, pads=1)


def averaged(net: Net, x: str) -> str:
    return net.pool(ops.AveragePool, x, 2, stride=2)


def averaged_with_padding(net: Net, x: str) -> str:
    return net.pool(ops.AveragePool, x, 3, stride=2, pads=1, count_padding=True)


def residual(net: Net, x: str) -> str:
    return net.add(x, net.conv(x, 3, pads=1))


def joined(net: Net, x: str) -> str:
    return net.concat(net.conv(x, 2, pads=1), x, net.relu(x))


def moved(net: Net, x: str) -> str:
    return net.transpose(net.pad(x, (0, 0, 1, 0, 0, 0, 2, 1)), 0, 2, 3, 1)


def scored(net: Net, x: str) -> str:
    flat = net.reshape(net.global_average(x), 1, 3)
    return net.dense(net.relu(net.dense(flat, 7)), 5)


@pytest.mark.parametrize(
    "layer",
    [
        plain,
        strided,
        widely_padded,
        grouped,
        depthwise,
        clipped,
        pooled,
        averaged,
        averaged_with_padding,
        residual,
        joined,
        moved,
        scored,
    ],
)
def test_a_gradient_is_the_slope_of_the_output(layer: Callable[[Net, str], str]) -> None:
    net = Net(1, 3, 9, 8)
    start = net.conv(net.x, 3, pads=1)
    graph = net.graph(layer(net, start))
    gradient, product, slope = known(graph, start)
    assert gradient is not None
    assert gradient.shape == (_COUNT, *graph.shape(start)[1:])
    assert abs(product - slope) <= 2e-2 * (1 + abs(slope))


def test_gradients_in_front_of_a_node_without_one_are_not_known() -> None:
    net = Net(1, 3, 8, 8)
    start = net.conv(net.x, 3, pads=1)
    late = net.conv(net.same(ops.Silu, start), 3)
    graph = net.graph(net.relu(late))
    assert known(graph, start)[0] is None
    assert known(graph, late)[0] is not None


def test_a_gradient_is_not_given_where_only_a_part_of_it_is_known() -> None:
    net = Net(1, 3, 8, 8)
    start = net.conv(net.x, 3, pads=1)
    graph = net.graph(net.add(start, net.same(ops.Silu, start)))
    assert known(graph, start)[0] is None
