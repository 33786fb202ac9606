"""Layers whose channels differ widely are named."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.passes.note_weight_spread import NoteWeightSpread
from tests.passes.graphs import Net


def _net(factor: float, kind: str) -> Net:
    net = Net(1, 4, 5, 5)
    if kind == "conv":
        net.conv(net.x, 6)
    else:
        net.conv_transpose(net.x, 6, groups=2)
    weights = np.ones_like(net.constants["w"])
    if kind == "conv":
        weights[1], weights[2] = factor, 0
    else:
        weights[2:, 1], weights[:2, 0] = factor, 0
    net.constants["w"] = weights
    return net


@pytest.mark.parametrize("kind", ["conv", "transposed"])
def test_a_layer_that_would_lose_more_than_four_bits_is_named(kind: str) -> None:
    net = _net(1 / 33, kind)
    result = NoteWeightSpread().run(net.graph(net.nodes[0].outputs[0]))
    (finding,) = result.diagnostics
    assert finding.code == "LB425"
    assert finding.found == f"bits: {net.nodes[0].name} 5.0"
    assert finding.sources == net.nodes[0].sources


@pytest.mark.parametrize("kind", ["conv", "transposed"])
def test_channels_that_are_alike_or_zero_are_nothing_to_say(kind: str) -> None:
    net = _net(1 / 15, kind)
    graph = net.graph(net.nodes[0].outputs[0])
    assert NoteWeightSpread().run(graph).diagnostics == ()
    assert NoteWeightSpread().run(graph).graph is graph
