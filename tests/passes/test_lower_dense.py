"""Gemm, and MatMul by constant weights, become Dense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.ir import ops
from lowbitc.passes.fold_batchnorm import FoldBatchnorm
from lowbitc.passes.lower_dense import LowerDense
from tests.passes.checking import checked, gap, kinds
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph


def lowered(graph: Graph) -> Graph:
    return checked(LowerDense(), graph)


@pytest.mark.parametrize("shape", [(1, 6), (1, 5, 6), (1, 2, 5, 6)])
def test_a_product_with_constant_weights_is_dense(shape: tuple[int, ...]) -> None:
    net = Net(*shape)
    after = lowered(net.graph(net.matmul(net.x, 4)))
    assert kinds(after) == ["Dense"]
    assert after.constants[after.nodes[0].inputs[1]].shape == (4, 6)


def test_a_product_and_a_bias_are_one_dense_once_folded() -> None:
    net = Net(1, 5, 6)
    y = net.with_constant(ops.Add, net.matmul(net.x, 4), net.normal(4))
    after = checked(FoldBatchnorm(), lowered(net.graph(y)))
    assert kinds(after) == ["Dense"]


def test_constant_weights_on_the_left_stay_a_product() -> None:
    net = Net(1, 6, 3)
    weights = net.constant(net.normal(4, 6))
    y = net.node(ops.MatMul, (weights, net.x), (1, 4, 3))
    assert kinds(lowered(net.graph(y))) == ["MatMul"]


def test_a_product_of_two_values_stays() -> None:
    net = Net(1, 6, 6)
    assert kinds(lowered(net.graph(net.same(ops.MatMul, net.x, net.relu(net.x))))) == [
        "Relu",
        "MatMul",
    ]


def test_a_stack_of_constant_matrices_stays() -> None:
    net = Net(1, 3, 2, 6)
    y = net.node(ops.MatMul, (net.x, net.constant(net.normal(3, 6, 4))), (1, 3, 2, 4))
    assert kinds(lowered(net.graph(y))) == ["MatMul"]


@pytest.mark.parametrize("addend", [(), (1,), (4,), (1, 4), (1, 1), None])
@pytest.mark.parametrize("trans_b", [True, False], ids=["b-turned", "b"])
def test_factors_and_a_bias_of_a_gemm_go_into_constants(
    addend: tuple[int, ...] | None, *, trans_b: bool
) -> None:
    net = Net(1, 6)
    weights = net.constant(net.normal(4, 6) if trans_b else net.normal(6, 4))
    inputs = (net.x, weights) + (() if addend is None else (net.constant(net.normal(*addend)),))
    y = net.node(ops.Gemm, inputs, (1, 4), alpha=0.7, beta=-1.3, trans_b=trans_b)
    assert kinds(lowered(net.graph(y))) == ["Dense"]


def test_a_turned_left_side_becomes_a_transpose() -> None:
    net = Net(6, 3)
    weights = net.constant(net.normal(6, 4))
    y = net.node(ops.Gemm, (net.x, weights), (3, 4), trans_a=True)
    graph = net.graph(y)
    after = LowerDense().run(graph).graph
    assert kinds(after) == ["Transpose", "Dense"]
    assert _runs_alike(graph, after)


def test_an_addend_that_is_no_bias_becomes_an_add() -> None:
    net = Net(2, 6)
    weights = net.constant(net.normal(6, 4))
    y = net.node(ops.Gemm, (net.x, weights, net.constant(net.normal(2, 1))), (2, 4), beta=3.0)
    graph = net.graph(y)
    after = LowerDense().run(graph).graph
    assert kinds(after) == ["Dense", "Add"]
    assert _runs_alike(graph, after)


def test_a_computed_addend_becomes_an_add() -> None:
    net = Net(1, 6)
    weights = net.constant(net.normal(6, 6))
    y = net.node(ops.Gemm, (net.x, weights, net.relu(net.x)), (1, 6), alpha=2.0)
    assert kinds(lowered(net.graph(y))) == ["Relu", "Dense", "Add"]


def test_a_computed_addend_with_a_factor_stays_a_gemm() -> None:
    net = Net(1, 6)
    weights = net.constant(net.normal(6, 6))
    y = net.node(ops.Gemm, (net.x, weights, net.relu(net.x)), (1, 6), beta=2.0)
    assert kinds(lowered(net.graph(y))) == ["Relu", "Gemm"]


def test_computed_weights_stay_a_gemm() -> None:
    net = Net(1, 6)
    y = net.node(ops.Gemm, (net.x, net.input(6, 3)), (1, 3))
    graph = net.graph(y)
    assert LowerDense().run(graph).graph is graph


def test_constants_that_others_share_stay() -> None:
    net = Net(1, 6)
    weights = net.constant(net.normal(6, 6))
    y = net.node(ops.MatMul, (net.x, weights), (1, 6))
    z = net.node(ops.MatMul, (weights, net.reshape(y, 1, 6, 1)), (1, 6, 1))
    after = lowered(net.graph(z))
    assert np.array_equal(after.constants[weights], net.constants[weights])


def _runs_alike(before: Graph, after: Graph) -> bool:
    return gap(before, after, samples=1) < 1e-5


def test_products_that_share_weights_still_do() -> None:
    net = Net(1, 6)
    weights = net.constant(net.normal(6, 6))
    y = net.node(ops.Gemm, (net.x, weights), (1, 6))
    z = net.node(ops.Gemm, (y, weights), (1, 6), alpha=2.0)
    u = net.node(ops.MatMul, (z, weights), (1, 6))
    after = lowered(net.graph(u))
    assert len({node.inputs[1] for node in after.nodes}) == 2
