"""Events and synaptic operations are what a walk over every weight would count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.elements import U4
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.numerics import spec
from lowbitc.targets.engines.events import Counts, count_node, fan_out
from lowbitc.targets.engines.reference import ReferenceLaunch
from lowbitc.targets.engines.simulator import Simulator
from tests.program.graphs import Net, every_operator, inputs, program

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node


def walked(node: Node, graph: Graph) -> Int64:
    """Count, for each place of one input channel, the operations of an event there."""
    _, inward, *size = graph.shape(node.inputs[0])
    found = np.zeros(size, np.int64)
    ones = {v: np.ones_like(graph.constants[v]) for v in node.inputs[1:2]}
    for place in np.ndindex(*size):
        levels = np.zeros((1, inward, *size), np.int64)
        levels[(0, 0, *place)] = 1
        sums = _sums(node, levels, next(iter(ones.values())).astype(np.int64))
        found[place] = int(sums.sum())
    return found


def _sums(
    node: Node,
    x: Int64,
    w: Int64,
) -> Int64:
    if isinstance(node, q.QConv):
        return spec.convolve(x, w, node.stride, node.dilation, node.pads, node.groups)
    assert isinstance(node, q.QConvTranspose)
    return spec.convolve_transposed(
        x, w, node.stride, node.dilation, node.pads, node.output_padding, node.groups
    )


@pytest.mark.parametrize(
    ("stride", "dilation", "groups", "pad"),
    [(1, 1, 1, 1), (2, 1, 1, 0), (3, 2, 2, 2), (1, 1, 4, 1)],
)
def test_an_event_meets_the_weights_of_every_window_that_holds_it(
    stride: int, dilation: int, groups: int, pad: int
) -> None:
    net = Net((1, 4, 7, 6))
    out = net.conv(
        net.quantize(), 8, stride=stride, dilation=dilation, groups=groups, pad=pad, out=U4
    )
    graph = net.graph(out)
    assert np.array_equal(fan_out(net.nodes[-1], graph), walked(net.nodes[-1], graph))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_writes_what_is_not_cropped(groups: int) -> None:
    net = Net((1, 4, 3, 5))
    out = net.conv_transpose(net.quantize(), 6, groups)
    graph = net.graph(out)
    assert np.array_equal(fan_out(net.nodes[-1], graph), walked(net.nodes[-1], graph))


def test_zeros_are_no_events() -> None:
    net = Net((1, 3, 4, 4))
    stem = net.quantize()
    node_out = net.conv(stem, 5, kernel=(1, 1), pad=0)
    levels = np.zeros((2, 3, 4, 4), np.uint8)
    levels[0, :, 1, 1] = 7
    counts = Counts()
    count_node(net.nodes[-1], net.graph(node_out), {stem: levels}, counts)
    found = counts.of(net.nodes[-1].name)
    assert (found.levels, found.events, found.synaptic_ops) == (96, 3, 15)
    assert found.sparsity == pytest.approx(1 - 3 / 96)


def test_counts_add_up_over_batches_and_samples() -> None:
    read = program(every_operator())
    one, all_ = Counts(), Counts()
    data = inputs(5)
    for index in range(5):
        Simulator(read, "reference").run({"x": data["x"][index : index + 1]}, counts=one)
    Simulator(read, "reference").run(data, counts=all_)
    assert one == all_
    assert all_.samples == 5


def test_every_layer_that_works_is_counted() -> None:
    read = program(every_operator())
    counts = Counts()
    launch = read.launches[0].graph
    ReferenceLaunch(launch).run(inputs(2), counts)
    working = (q.QConv, q.QConvTranspose, q.QDense, q.QAveragePool, q.QMaxPool, q.QAdd, q.QTable)
    assert list(counts.layers) == [n.name for n in launch.nodes if isinstance(n, working)]
    assert all(c.events <= c.levels and c.synaptic_ops for c in counts.layers.values())
