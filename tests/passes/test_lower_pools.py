"""Means and maxima over whole maps become the pools that the chip runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lowbitc.compiler.ir import ops
from lowbitc.passes.lower_pools import LowerPools
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph


def lowered(graph: Graph) -> Graph:
    return checked(LowerPools(), graph)


@pytest.mark.parametrize("sizes", [(6,), (4, 5), (2, 3, 4)])
def test_a_mean_over_all_spatial_axes_is_a_pool(sizes: tuple[int, ...]) -> None:
    net = Net(1, 3, *sizes)
    axes = tuple(range(2, 2 + len(sizes)))
    kept = net.node(ops.ReduceMean, (net.x,), (1, 3, *(1,) * len(sizes)), axes=axes, keepdims=True)
    assert kinds(lowered(net.graph(kept))) == ["GlobalAveragePool"]


def test_a_mean_without_its_dimensions_is_a_pool_and_a_reshape() -> None:
    net = Net(1, 3, 4, 5)
    y = net.node(ops.ReduceMean, (net.x,), (1, 3), axes=(2, 3), keepdims=False)
    assert kinds(lowered(net.graph(y))) == ["GlobalAveragePool", "Reshape"]


@pytest.mark.parametrize("axes", [(2,), (1,), (1, 2, 3)])
def test_another_mean_stays(axes: tuple[int, ...]) -> None:
    net = Net(1, 3, 4, 5)
    shape = tuple(1 if i in axes else s for i, s in enumerate((1, 3, 4, 5)))
    y = net.node(ops.ReduceMean, (net.x,), shape, axes=axes, keepdims=True)
    assert kinds(lowered(net.graph(y))) == ["ReduceMean"]


def test_a_maximum_over_the_map_is_a_max_pool() -> None:
    net = Net(1, 3, 4, 5)
    after = lowered(net.graph(net.node(ops.GlobalMaxPool, (net.x,), (1, 3, 1, 1))))
    (node,) = after.nodes
    assert isinstance(node, ops.MaxPool)
    assert node.kernel == (4, 5)
