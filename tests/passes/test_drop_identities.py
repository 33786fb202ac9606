"""Nodes that change nothing go; names of outputs stay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from lowbitc.compiler.ir import ops
from lowbitc.passes.drop_identities import DropIdentities
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.ir.graph import Graph


def dropped(graph: Graph) -> Graph:
    return checked(DropIdentities(), graph, relative=0)


_NEUTRAL: dict[str, Callable[[Net, str], str]] = {
    "Identity": lambda net, x: net.same(ops.Identity, x),
    "Reshape": lambda net, x: net.reshape(x, *net.shape(x)),
    "Transpose": lambda net, x: net.transpose(x, 0, 1, 2, 3),
    "Pad": lambda net, x: net.pad(x, (0,) * 8),
    "Slice": lambda net, x: net.same(
        ops.Slice, x, starts=(0,), ends=(2**63 - 1,), axes=(1,), steps=(1,)
    ),
    "Concat": lambda net, x: net.concat(x),
    "Split": lambda net, x: net.same(ops.Split, x, axis=1, sizes=(net.shape(x)[1],)),
    "Clamp": lambda net, x: net.clamp(x, -math.inf, math.inf),
    "Upsample": lambda net, x: net.same(ops.Upsample, x, factors=(1, 1, 1, 1)),
    "MaxPool": lambda net, x: net.pool(ops.MaxPool, x, 1),
    "AveragePool": lambda net, x: net.pool(ops.AveragePool, x, 1),
}


@pytest.mark.parametrize("operator", sorted(_NEUTRAL))
def test_a_neutral_node_goes(operator: str) -> None:
    net = Net(1, 3, 4, 4)
    y = net.relu(_NEUTRAL[operator](net, net.relu(net.x)))
    assert kinds(dropped(net.graph(y))) == ["Relu", "Relu"]


def test_nodes_that_do_something_stay() -> None:
    net = Net(1, 3, 4, 4)
    y = net.pool(ops.MaxPool, net.transpose(net.x, 0, 1, 3, 2), 1, stride=2)
    y = net.same(ops.Slice, y, starts=(-1,), ends=(-(2**63),), axes=(2,), steps=(-1,))
    y = net.concat(net.clamp(y, -math.inf, 1), y)
    graph = net.graph(y)
    assert dropped(graph) is graph


def test_chains_of_them_go_at_once() -> None:
    net = Net(1, 3, 4, 4)
    y = net.x
    for neutral in sorted(_NEUTRAL):
        y = _NEUTRAL[neutral](net, y)
    assert kinds(dropped(net.graph(net.relu(y)))) == ["Relu"]


def test_an_output_takes_its_name_to_the_node_before() -> None:
    net = Net(1, 3, 4, 4)
    inner = net.relu(net.x)
    y = net.same(ops.Identity, inner)
    after = dropped(net.graph(net.same(ops.Sigmoid, inner), y))
    assert kinds(after) == ["Relu", "Sigmoid"]
    assert after.nodes[0].outputs == (y,)
    assert after.nodes[1].inputs == (y,)


@pytest.mark.parametrize("case", ["an input", "another output", "a constant"])
def test_an_output_that_equals_something_else_is_a_copy_on_the_cpu(case: str) -> None:
    net = Net(1, 3)
    inner = {
        "an input": net.x,
        "another output": net.relu(net.x),
        "a constant": net.constant(net.normal(1, 3)),
    }[case]
    y = net.same(ops.Identity, inner)
    outputs = (y, inner) if case == "another output" else (y, net.relu(net.x))
    after = dropped(net.graph(*outputs))
    (copy,) = [node for node in after.nodes if y in node.outputs]
    assert isinstance(copy, ops.HostOp)
    assert copy.op_type == "Identity"
    assert [source.op for source in copy.sources] == ["Identity"]


def test_two_copies_of_a_value_that_are_outputs_both_stay_outputs() -> None:
    net = Net(1, 3)
    inner = net.relu(net.x)
    outputs = [net.same(ops.Identity, inner) for _ in range(2)]
    after = dropped(net.graph(*outputs))
    assert kinds(after) == ["Relu", "HostOp"]
