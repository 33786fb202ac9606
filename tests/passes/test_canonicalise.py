"""The small rewrites: each thing gets one spelling, and the function stays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.passes.canonicalise import Canonicalise
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph


def canonical(graph: Graph, relative: float = 2e-5) -> Graph:
    return checked(Canonicalise(), graph, relative=relative)


def test_a_network_in_canonical_form_stays_the_same_object() -> None:
    net = Net(1, 4, 6, 6)
    graph = net.graph(net.relu(net.conv(net.x, 3)))
    assert Canonicalise().run(graph).graph is graph


def test_nodes_that_nothing_needs_go() -> None:
    net = Net(1, 4, 6, 6)
    y = net.relu(net.x)
    net.conv(net.x, 3)
    after = canonical(net.graph(y), 0)
    assert kinds(after) == ["Relu"]
    assert not after.constants


def test_a_network_spelled_the_long_way_shrinks_to_its_layers() -> None:
    net = Net(1, 3, 8, 8)
    y = net.pad(net.same(ops.Identity, net.x), (0, 0, 1, 1, 0, 0, 1, 1))
    y = net.clamp(net.pool(ops.MaxPool, net.conv(y, 4), 2), 0.0, math.inf)
    y = net.node(ops.ReduceMean, (net.relu(y),), (1, 4), axes=(2, 3), keepdims=False)
    y = net.with_constant(ops.Div, net.matmul(y, 5), np.asarray(2.0))
    after = canonical(net.graph(y))
    assert kinds(after) == [
        *("Conv", "Relu", "MaxPool", "GlobalAveragePool", "Reshape"),
        *("Dense", "Mul"),
    ]
