"""Nodes that only regroup elements become one Reshape, for any number of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lowbitc.compiler.ir import ops
from lowbitc.passes.lower_reshapes import LowerReshapes
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node


def lowered(graph: Graph) -> Graph:
    return checked(LowerReshapes(), graph, relative=0)


def _shape(graph: Graph, place: int = 0) -> tuple[int, ...]:
    node = graph.nodes[place]
    assert isinstance(node, ops.Reshape)
    return node.shape


@pytest.mark.parametrize(
    ("operator", "field", "shape", "expected"),
    [
        (ops.Flatten, {"axis": 1}, (1, 48), (0, 48)),
        (ops.Flatten, {"axis": 2}, (3, 16), (-1, 16)),
        (ops.Squeeze, {"axes": ()}, (1, 3, 4, 4), None),
        (ops.Unsqueeze, {"axes": (2,)}, (1, 3, 1, 4, 4), (0, 3, 1, 4, 4)),
        (ops.Reshape, {"shape": (1, -1)}, (1, 48), (0, 48)),
        (ops.Reshape, {"shape": (-1, 4)}, (12, 4), (-1, 4)),
    ],
)
def test_it_becomes_a_reshape_that_fits_any_number_of_samples(
    operator: type[Node],
    field: dict[str, object],
    shape: tuple[int, ...],
    expected: tuple[int, ...] | None,
) -> None:
    net = Net(1, 3, 4, 4)
    y = net.node(operator, (net.relu(net.x),), shape, **field)
    after = lowered(net.graph(y))
    if expected is not None:
        assert _shape(after, 1) == expected


def test_squeezed_dimensions_go() -> None:
    net = Net(1, 5, 1, 1)
    y = net.node(ops.Squeeze, (net.x,), (1, 5), axes=(2, 3))
    assert _shape(lowered(net.graph(y))) == (0, 5)


def test_a_reshape_of_a_reshape_is_one() -> None:
    net = Net(1, 3, 4, 4)
    y = net.reshape(net.node(ops.Flatten, (net.x,), (1, 48), axis=1), 1, 6, 8)
    after = lowered(net.graph(y))
    assert kinds(after) == ["Reshape"]
    assert [s.op for s in after.nodes[0].sources] == ["Flatten", "Reshape"]


def test_a_reshape_that_others_read_stays() -> None:
    net = Net(1, 3, 4, 4)
    inner = net.reshape(net.x, 1, 48)
    after = lowered(net.graph(net.reshape(inner, 1, 6, 8), net.relu(inner)))
    assert sorted(kinds(after)) == ["Relu", "Reshape", "Reshape"]
    assert [node.inputs for node in after.nodes[1:]] == [(inner,)] * 2


def test_a_transpose_that_moves_only_ones_is_a_reshape() -> None:
    net = Net(1, 1, 6, 5)
    after = lowered(net.graph(net.transpose(net.x, 0, 2, 3, 1)))
    assert _shape(after) == (0, 6, 5, 1)


@pytest.mark.parametrize("perm", [(0, 2, 1, 3), (1, 0, 2, 3)])
def test_another_transpose_stays(perm: tuple[int, ...]) -> None:
    net = Net(1, 1 if perm[0] else 3, 6, 5)
    assert kinds(lowered(net.graph(net.transpose(net.x, *perm)))) == ["Transpose"]
