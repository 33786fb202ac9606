"""What a layer's outputs count for the network's: against its own Jacobian, and where unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.bits import parse_bits
from lowbitc.compiler.ir import ops
from lowbitc.compiler.manager import PassManager
from lowbitc.passes.absorb_shifts import AbsorbShifts
from lowbitc.passes.assign_devices import AssignDevices
from lowbitc.passes.calibrate_pact import CalibratePact
from lowbitc.passes.couple_outputs import couple_outputs
from lowbitc.passes.replay import Replay
from tests.quantization.networks import Builder, residual_network, samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Float64
    from lowbitc.compiler.ir.graph import Graph

BITS = parse_bits("8/4/4")
COUNT = 48


def ridge(second: Float64) -> float:
    """Return what stands beside the measured moments, for so many samples."""
    return 0.1 + len(second) / COUNT


def measured(graph: Graph, count: int = COUNT) -> Mapping[str, Float64]:
    shape = graph.shape("x")
    passes = (
        AssignDevices(lambda _graph: {}, BITS),
        AbsorbShifts(),
        CalibratePact(lambda: samples(count, shape), BITS, threads=1),
    )
    whole = PassManager(passes).run(graph).graph
    replay = Replay(whole, lambda: samples(count, shape), 1)
    try:
        return couple_outputs(replay, {node.name for node in whole.nodes})
    finally:
        replay.close()


def test_every_layer_of_one_group_that_a_gradient_reaches_is_measured() -> None:
    graph = residual_network()
    found = measured(graph)
    wanted = {
        n.name
        for n in graph.nodes
        if isinstance(n, ops.Dense) or (isinstance(n, ops.Conv) and n.groups == 1)
    }
    assert set(found) == wanted
    for second in found.values():
        assert np.allclose(second, second.T)
        assert np.linalg.eigvalsh(second).min() > 0.09
        assert np.isclose(np.diagonal(second).mean(), 1 + ridge(second))


def test_outputs_count_as_the_layer_behind_them_weighs_them() -> None:
    net = Builder((1, 6))
    first = net.dense("x", 4)
    scores = net.dense(first, 3)
    graph = net.graph(scores)
    found = measured(graph)
    names = [n.name for n in graph.nodes]
    weights = np.asarray(graph.constants[graph.nodes[1].inputs[1]], np.float64)
    behind = weights.T @ (found[names[1]] - ridge(found[names[1]]) * np.eye(3)) @ weights
    behind /= np.diagonal(behind).mean()
    assert np.allclose(found[names[0]] - ridge(found[names[0]]) * np.eye(4), behind, atol=1e-4)


def test_adding_to_all_scores_costs_nothing() -> None:
    net = Builder((1, 6))
    graph = net.graph(net.dense("x", 5))
    (second,) = measured(graph).values()
    ones = np.ones(5)
    assert np.isclose(ones @ second @ ones, 5 * ridge(second), atol=1e-4)


def test_layers_in_front_of_a_table_are_left_alone() -> None:
    net = Builder((1, 3, 8, 8))
    first = net.silu(net.conv("x", 4))
    graph = net.graph(net.dense(net.flat(net.mean(net.relu(net.conv(first, 4)))), 5))
    convs = [n.name for n in graph.nodes if isinstance(n, ops.Conv)]
    found = measured(graph)
    assert convs[0] not in found
    assert convs[1] in found
