"""Activations that exporters spell out in products and sums become one node."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from lowbitc.compiler.ir import ops
from lowbitc.passes.canonicalise import Canonicalise
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

    _Spell = Callable[[Net], str]


def canonical(graph: Graph) -> Graph:
    return checked(Canonicalise(), graph)


def _silu(net: Net) -> str:
    return net.same(ops.Mul, net.x, net.same(ops.Sigmoid, net.x))


def _hard_swish(net: Net) -> str:
    gate = net.clamp(net.with_constant(ops.Add, net.x, np.asarray(3.0)))
    return net.with_constant(ops.Div, net.same(ops.Mul, net.x, gate), np.asarray(6.0))


def _hard_swish_by_its_gate(net: Net) -> str:
    gate = net.clamp(net.with_constant(ops.Add, net.x, np.asarray(3.0)))
    return net.same(ops.Mul, net.with_constant(ops.Mul, gate, np.asarray(1 / 6)), net.x)


def _hard_swish_by_hard_sigmoid(net: Net) -> str:
    gate = net.same(ops.HardSigmoid, net.x, alpha=1 / 6, beta=0.5)
    return net.same(ops.Mul, gate, net.x)


def _gelu(net: Net) -> str:
    inner = net.with_constant(ops.Div, net.x, np.asarray(math.sqrt(2)))
    gate = net.with_constant(ops.Add, net.same(ops.Erf, inner), np.asarray(1.0))
    return net.with_constant(ops.Mul, net.same(ops.Mul, net.x, gate), np.asarray(0.5))


def _gelu_halved_first(net: Net) -> str:
    half = net.with_constant(ops.Mul, net.x, np.asarray(0.5))
    inner = net.with_constant(ops.Mul, net.x, np.asarray(math.sqrt(0.5)))
    gate = net.with_constant(ops.Add, net.same(ops.Erf, inner), np.asarray(1.0))
    return net.same(ops.Mul, half, gate)


def _tanh_gelu(net: Net, cube: str) -> str:
    cubic = net.with_constant(ops.Mul, cube, np.asarray(0.044715))
    inner = net.with_constant(ops.Mul, net.add(net.x, cubic), np.asarray(math.sqrt(2 / math.pi)))
    gate = net.with_constant(ops.Add, net.same(ops.Tanh, inner), np.asarray(1.0))
    return net.same(ops.Mul, net.with_constant(ops.Mul, net.x, np.asarray(0.5)), gate)


def _tanh_gelu_of_products(net: Net) -> str:
    return _tanh_gelu(net, net.same(ops.Mul, net.same(ops.Mul, net.x, net.x), net.x))


def _tanh_gelu_of_a_power(net: Net) -> str:
    exponent = net.constant(np.asarray(3.0, np.float32))
    proto = onnx.helper.make_node("Pow", [net.x, exponent], ["y"]).SerializeToString()
    cube = net.same(ops.HostOp, net.x, exponent, domain="", op_type="Pow", proto=proto)
    return _tanh_gelu(net, cube)


def _tanh_gelu_factored(net: Net) -> str:
    square = net.with_constant(ops.Mul, net.same(ops.Mul, net.x, net.x), np.asarray(0.044715))
    raised = net.with_constant(ops.Add, square, np.asarray(1.0))
    slope = net.with_constant(ops.Mul, net.x, np.asarray(math.sqrt(2 / math.pi)))
    tanh = net.same(ops.Tanh, net.same(ops.Mul, slope, raised))
    gate = net.with_constant(ops.Add, tanh, np.asarray(1.0))
    return net.with_constant(ops.Mul, net.same(ops.Mul, net.x, gate), np.asarray(0.5))


@pytest.mark.parametrize(
    ("spell", "expected"),
    [
        (_silu, ops.Silu),
        (_hard_swish, ops.HardSwish),
        (_hard_swish_by_its_gate, ops.HardSwish),
        (_hard_swish_by_hard_sigmoid, ops.HardSwish),
        (_gelu, ops.Gelu),
        (_gelu_halved_first, ops.Gelu),
        (_tanh_gelu_of_products, ops.Gelu),
        (_tanh_gelu_of_a_power, ops.Gelu),
        (_tanh_gelu_factored, ops.Gelu),
    ],
)
def test_an_activation_spelled_out_becomes_one_node(spell: _Spell, expected: type[Node]) -> None:
    net = Net(1, 4, 3)
    y = spell(net)
    after = canonical(net.graph(y))
    (node,) = after.nodes
    assert isinstance(node, expected)
    assert getattr(node, "tanh", False) is ("tanh" in spell.__name__)
    assert node.outputs == (y,)
    assert set(node.sources) == {s for n in net.nodes for s in n.sources}


@pytest.mark.parametrize("factor", [0.4, 0.6])
def test_a_gelu_of_another_height_is_none(factor: float) -> None:
    net = Net(1, 4, 3)
    inner = net.with_constant(ops.Mul, net.x, np.asarray(math.sqrt(0.5)))
    gate = net.with_constant(ops.Add, net.same(ops.Erf, inner), np.asarray(1.0))
    y = net.with_constant(ops.Mul, net.same(ops.Mul, net.x, gate), np.asarray(factor))
    assert "Gelu" not in kinds(canonical(net.graph(y)))


def test_a_gate_of_another_value_is_no_silu() -> None:
    net = Net(1, 4, 3)
    y = net.same(ops.Mul, net.relu(net.x), net.same(ops.Sigmoid, net.x))
    assert "Silu" not in kinds(canonical(net.graph(y)))


def test_a_silu_of_a_product_is_found() -> None:
    net = Net(1, 4, 3)
    x = net.same(ops.Mul, net.x, net.relu(net.x))
    y = net.same(ops.Mul, x, net.same(ops.Sigmoid, x))
    assert kinds(canonical(net.graph(y))) == ["Relu", "Mul", "Silu"]


def test_a_gate_that_others_read_stays_beside_the_silu() -> None:
    net = Net(1, 4, 3)
    gate = net.same(ops.Sigmoid, net.x)
    graph = net.graph(net.same(ops.Mul, net.x, gate), gate)
    assert sorted(kinds(canonical(graph))) == ["Sigmoid", "Silu"]
