"""Between levels, integer operators do what they do at levels."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.execute_fractions import run_between_levels, to_fractions
from lowbitc.compiler.execute_levels import LevelSession
from lowbitc.compiler.ir.quantized import DEVICE_OPS, QMaxPool, StagedNode
from lowbitc.targets.engines.tracing import TracedLaunch
from tests.program.graphs import every_operator, inputs, program

LAUNCHES = program(every_operator()).launches


@pytest.mark.parametrize("number", range(len(LAUNCHES)))
def test_whole_levels_given_as_floats_give_the_same_levels(number: int) -> None:
    graph = LAUNCHES[number].graph
    launch = TracedLaunch(graph, 1)
    random = np.random.default_rng(0)
    feeds = {v: random.random(graph.shape(v)).astype(np.float32) for v in graph.inputs}
    if not number:
        feeds = {"x": inputs(1)["x"]}
    launch.run(feeds)
    for node in graph.nodes:
        if isinstance(node, DEVICE_OPS):
            floats = {
                v: launch.values[v].astype(np.float32) for v in node.inputs if v in launch.values
            }
            found = run_between_levels(launch.session, node, floats)[node.outputs[0]]
            assert np.array_equal(found, launch.values[node.outputs[0]]), node.op


def test_a_layer_follows_its_input_between_levels() -> None:
    graph = LAUNCHES[0].graph
    session = LevelSession(graph, threads=1)
    (node, *_) = (n for n in graph.nodes if isinstance(n, StagedNode))
    x = np.random.default_rng(1).integers(0, 4, graph.shape(node.inputs[0])).astype(np.float32)
    low, middle, high = (
        run_between_levels(session, node, {node.inputs[0]: x + shift})[node.outputs[0]]
        for shift in (0.0, 0.5, 1.0)
    )
    between = (middle.astype(int) - low) * (high.astype(int) - middle)
    assert np.all(between >= 0)
    assert np.any(middle != low)


def test_the_largest_of_fractions_wins() -> None:
    graph = LAUNCHES[0].graph
    (node,) = (n for n in graph.nodes if isinstance(n, QMaxPool))
    x = np.random.default_rng(1).random(graph.shape(node.inputs[0])).astype(np.float32) - 0.5
    found = run_between_levels(LevelSession(graph), node, {node.inputs[0]: x})[node.outputs[0]]
    assert found.max() == pytest.approx(x.max(), abs=1e-4)


def test_fractions_are_neither_rounded_nor_clipped() -> None:
    found = to_fractions(np.array([-1.0, 0.25, 600.0]), 0.5)
    assert found.tolist() == [-2.0, 0.5, 1200.0]
