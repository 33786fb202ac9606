"""Transposes of Transposes are one, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.passes.merge_transposes import MergeTransposes
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph


def merged(graph: Graph) -> Graph:
    return checked(MergeTransposes(), graph, relative=0)


def test_two_are_one() -> None:
    net = Net(1, 2, 3, 4)
    y = net.transpose(net.transpose(net.x, 0, 2, 3, 1), 0, 3, 2, 1)
    assert kinds(merged(net.graph(y))) == ["Transpose"]


def test_three_are_one() -> None:
    net = Net(1, 2, 3, 4)
    y = net.x
    for _ in range(4):
        y = net.transpose(y, 0, 2, 3, 1)
    assert kinds(merged(net.graph(y))) == ["Transpose"]


def test_those_that_undo_each_other_go() -> None:
    net = Net(1, 2, 3, 4)
    y = net.relu(net.transpose(net.transpose(net.x, 0, 2, 3, 1), 0, 3, 1, 2))
    assert kinds(merged(net.graph(y))) == ["Relu"]


def test_one_that_others_read_stays() -> None:
    net = Net(1, 2, 3, 4)
    inner = net.transpose(net.x, 0, 2, 3, 1)
    back, other = net.relu(net.transpose(inner, 0, 3, 1, 2)), net.transpose(inner, 0, 3, 2, 1)
    after = merged(net.graph(back, other, net.relu(inner)))
    assert sorted(kinds(after)) == ["Relu", "Relu", "Transpose", "Transpose"]
