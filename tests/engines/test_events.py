"""Counts are what a walk over every weight would give, and the same from every engine."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.elements import I4, U4
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.numerics import spec
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.reference import ReferenceLaunch
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.placement.mesh import Memory, Mesh
from lowbitc.targets.placement.place import place
from tests.program.graphs import MESH, Net, every_operator, inputs, program

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.engines.events import LayerCount


def counted(graph: Graph, x: Array, mesh: Mesh = MESH) -> Counts:
    """Count the events of float inputs on the reference engine."""
    counts = Counts()
    Simulator(program(graph, mesh), "reference").run({"x": x}, counts=counts)
    return counts


def walked(node: Node, graph: Graph) -> Int64:
    """Count, for each place of one input channel, the operations of an event there."""
    _, inward, *size = graph.shape(node.inputs[0])
    found = np.zeros(size, np.int64)
    ones = {v: np.ones_like(graph.constants[v]) for v in node.inputs[1:2]}
    for place_ in np.ndindex(*size):
        levels = np.zeros((1, inward, *size), np.int64)
        levels[(0, 0, *place_)] = 1
        sums = _sums(node, levels, next(iter(ones.values())).astype(np.int64))
        found[place_] = int(sums.sum())
    return found


def _sums(node: Node, x: Int64, w: Int64) -> Int64:
    if isinstance(node, q.QConv):
        return spec.convolve(x, w, node.stride, node.dilation, node.pads, node.groups)
    assert isinstance(node, q.QConvTranspose)
    return spec.convolve_transposed(
        x, w, node.stride, node.dilation, node.pads, node.output_padding, node.groups
    )


def single_events(node: Node, graph: Graph) -> Int64:
    """Count the operations of an event at each place of the first input channel."""
    _, inward, *size = graph.shape(node.inputs[0])
    found = np.zeros(size, np.int64)
    for place_ in np.ndindex(*size):
        x = np.zeros((1, inward, *size), np.float32)
        x[(0, 0, *place_)] = 1
        found[place_] = counted(graph, x).of(node.name).synaptic_ops
    return found


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
    graph = net.graph(net.dequantize(out))
    assert np.array_equal(single_events(net.nodes[1], graph), walked(net.nodes[1], graph))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_writes_what_is_not_cropped(groups: int) -> None:
    net = Net((1, 4, 3, 5))
    graph = net.graph(net.dequantize(net.conv_transpose(net.quantize(), 6, groups)))
    assert np.array_equal(single_events(net.nodes[1], graph), walked(net.nodes[1], graph))


def test_zeros_are_no_events() -> None:
    net = Net((1, 3, 4, 4))
    graph = net.graph(net.dequantize(net.conv(net.quantize(), 5, kernel=(1, 1), pad=0)))
    x = np.zeros((2, 3, 4, 4), np.float32)
    x[0, :, 1, 1] = 1
    found = counted(graph, x).of(net.nodes[1].name)
    assert (found.levels, found.events, found.synaptic_ops) == (96, 3, 15)
    assert found.sparsity == pytest.approx(1 - 3 / 96)


def dense(mesh: Mesh) -> tuple[LayerCount, int]:
    """Count a dense layer of 4-bit weights, 40 → 6, on two samples with 30 events together."""
    net = Net((1, 40))
    out = net.dense(net.quantize(), 6, out=U4, weight=I4)
    graph = net.graph(net.dequantize(out))
    x = np.zeros((2, 40), np.float32)
    x[0, :20] = x[1, 30:] = 1
    made = ReferenceLaunch(graph.replace(nodes=graph.nodes[:2], outputs=(out,))).run({"x": x})
    return counted(graph, x, mesh).of(net.nodes[1].name), int(np.count_nonzero(made[out]))


def test_memory_traffic_is_levels_weights_and_thresholds() -> None:
    found, made = dense(MESH)
    assert found.events == 30
    assert found.events_out == made
    assert found.synaptic_ops == 30 * 6
    # Each event is written once and read once; a search reads 4 of 15 thresholds for every sum.
    assert found.sram_write_bits == 30 * 8
    assert found.sram_read_bits == 30 * 8 + 30 * 6 * 4 + 2 * 6 * 4 * 32
    # One link from outside to the NP at 0, 0, and one back.
    assert found.hops == 30 + made


def test_every_np_gets_the_events_that_it_reads() -> None:
    # Two blocks of three channels, each cut after input channel 20.
    found, made = dense(Mesh(2, 2, Memory(212, 20)))
    by_np = [(p.events_in, p.synaptic_ops) for _, p in sorted(found.processors.items())]
    assert by_np == [(20, 60), (10, 30), (20, 60), (10, 30)]
    assert found.events == 30
    assert found.events_out == made
    # NPs stand at 0,0  1,0  1,1  0,1. In: one link to the first, then three from NP to NP. Partial
    # sums: one link, three sums of two samples, twice. Out: from 1,0 two links, from 0,1 two.
    assert found.hops == 30 * 4 + 2 * 3 * 2 + 2 * made


def test_columns_between_two_tiles_come_to_both() -> None:
    net = Net((1, 1, 4, 8))
    graph = net.graph(net.dequantize(net.conv(net.quantize(), 2)))
    mesh = Mesh(2, 2, Memory(4096, 20))
    tiles = [p.columns for p in place(graph, mesh).processors]
    assert tiles == [(0, 4), (4, 8)]
    found = counted(graph, np.ones((1, 1, 4, 8), np.float32), mesh).of(net.nodes[1].name)
    assert found.events == 32
    # Output columns 0 to 3 read 0 to 4, and 4 to 7 read 3 to 7.
    assert [p.events_in for p in found.processors.values()] == [20, 20]


def test_counts_add_up_over_batches_and_samples() -> None:
    read = program(every_operator())
    one, all_ = Counts(), Counts()
    data = inputs(5)
    for index in range(5):
        Simulator(read, "reference").run({"x": data["x"][index : index + 1]}, counts=one)
    Simulator(read, "reference").run(data, counts=all_)
    assert one == all_
    assert all_.samples == 5


def test_every_layer_with_nps_is_counted() -> None:
    read = program(every_operator())
    counts = Counts()
    Simulator(read, "reference").run(inputs(2), counts=counts)
    layers = dict.fromkeys(p.layer for p in read.placement.processors)
    assert list(counts.layers) == list(layers)
    assert all(c.events <= c.levels for c in counts.layers.values())


def test_layers_that_only_move_levels_make_what_they_get() -> None:
    counts = Counts()
    Simulator(program(every_operator()), "reference").run(inputs(2), counts=counts)
    movers = [c for name, c in counts.layers.items() if name.startswith(("QConcat", "QTranspose"))]
    assert len(movers) == 2
    assert all((c.synaptic_ops, c.events_out) == (0, c.events) for c in movers)


def test_counts_are_sums_over_what_is_not_zero_not_over_levels() -> None:
    net = Net((1, 3, 4, 4))
    graph = net.graph(net.dequantize(net.conv(net.quantize(), 5)))
    x = np.random.default_rng(0).uniform(0.1, 0.5, (1, 3, 4, 4)).astype(np.float32)
    name = net.nodes[1].name
    small, large = (counted(graph, x * factor).of(name) for factor in (1, 5))
    assert dataclasses.replace(small, processors={}) == dataclasses.replace(large, processors={})
    assert small.synaptic_ops == large.synaptic_ops
