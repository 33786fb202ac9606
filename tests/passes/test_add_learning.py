"""A layer that learns takes the last dense layer's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.elements import ODD1, U1, U4
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.ir.graph import Stage
from lowbitc.compiler.ir.verify import verify
from lowbitc.compiler.manager import PassManager
from lowbitc.passes.add_learning import AddLearning, binary_features
from lowbitc.passes.folding import FOLDING
from tests.networks.building import Model
from tests.program.graphs import Net

if TYPE_CHECKING:
    from lowbitc.compiler.elements import LevelType
    from lowbitc.compiler.ir.graph import Graph


def quantized(features: LevelType = U1) -> Graph:
    net = Net((1, 3, 4, 4))
    x = net.conv(net.quantize(), 6, out=features)
    graph = net.graph(net.dequantize(net.dense(net.flat(x), 4)))
    return graph.replace(stage=Stage.QUANTIZED, regions=())


def test_neurons_have_no_connections_at_first() -> None:
    graph = AddLearning(5, 3).run(quantized()).graph
    layer = next(n for n in graph.nodes if n.name == "learn")
    assert isinstance(layer, q.QDense)
    assert layer.stage is q.Stage.ACCUMULATOR
    assert graph.tensor("learn.weight").levels == ODD1
    assert np.array_equal(graph.constants["learn.weight"], np.full((15, 96), -1))
    assert np.array_equal(graph.constants["learn.bias"], np.full(15, -1))


def test_outputs_keep_their_name_and_are_one_a_class() -> None:
    before = quantized()
    graph = AddLearning(5, 3).run(before).graph
    assert graph.outputs == before.outputs
    assert graph.shape(graph.outputs[0]) == (1, 5)
    assert not list(verify(graph))


def test_the_old_layer_is_gone_and_its_sources_stay() -> None:
    before = quantized()
    old = next(n for n in before.nodes if isinstance(n, q.QDense))
    graph = AddLearning(5, 3).run(before).graph
    assert old.name not in {n.name for n in graph.nodes}
    assert not set(old.inputs[1:]) & set(graph.constants)
    assert next(n for n in graph.nodes if n.name == "learn").sources == old.sources


def test_features_of_more_bits_are_refused() -> None:
    with pytest.raises(CompileError) as caught:
        AddLearning(5, 3).run(quantized(U4))
    assert [d.code for d in caught.value.diagnostics] == ["LB551"]
    assert "U4" in caught.value.diagnostics[0].found


@pytest.mark.parametrize("pooled", [False, True])
def test_the_layer_behind_the_last_relu_is_made_binary(*, pooled: bool) -> None:
    net = Model()
    x = net.relu(net.conv(net.input("x", "n", 2, 6, 6), 2, 8))
    if pooled:
        x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    model = net.done(net.dense(net.reshape(x, 0, -1), 8 * (9 if pooled else 36), 3))
    folded = PassManager(FOLDING).run(import_model(model).graph).graph
    bits = binary_features(folded, Bits(8, 4, 4))
    widths = {n.op: bits.activation_bits(n) for n in folded.nodes}
    assert widths["Conv"] == 1
    assert widths["Dense"] == 4
