"""Subtraction of constants is addition, division by them multiplication."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.ir import ops
from lowbitc.passes.lower_arithmetic import LowerArithmetic
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net


def test_a_constant_is_added_with_the_other_sign() -> None:
    net = Net(1, 3, 4)
    y = net.with_constant(ops.Sub, net.x, net.normal(3, 1))
    assert kinds(checked(LowerArithmetic(), net.graph(y), relative=0)) == ["Add"]


def test_a_quotient_is_a_product_to_the_last_bit_or_so() -> None:
    net = Net(1, 3, 4)
    y = net.with_constant(ops.Div, net.x, net.normal(3, 1))
    assert kinds(checked(LowerArithmetic(), net.graph(y), relative=2e-7)) == ["Mul"]


@pytest.mark.parametrize("divisor", [0.0, 1e-39, 3e38, np.inf])
def test_division_by_what_has_no_inverse_stays(divisor: float) -> None:
    net = Net(1, 3)
    graph = net.graph(net.with_constant(ops.Div, net.x, np.asarray([1.0, divisor, 2.0])))
    assert LowerArithmetic().run(graph).graph is graph


def test_constants_on_the_left_stay() -> None:
    net = Net(1, 3)
    left = net.constant(np.asarray([1.0, 3.0, 2.0], np.float32))
    nodes = (net.node(op, (left, net.x), (1, 3)) for op in (ops.Sub, ops.Div))
    graph = net.graph(*nodes)
    assert LowerArithmetic().run(graph).graph is graph
