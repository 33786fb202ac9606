"""Operator sets, operators and attributes that cannot be read are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper

from lowbitc.compiler.frontend import import_model
from tests.frontend.models import NEWEST, OPSETS, host, info, model, node, noticed, refusal

_ONE = np.ones(4, np.float32)
_STATISTICS = {"s": _ONE, "b": _ONE, "m": _ONE, "v": _ONE}


@pytest.mark.parametrize("opset", [1, 6, NEWEST + 1])
def test_opsets_outside_the_range_say_found_and_allowed(opset: int) -> None:
    found = refusal(model([node("Relu", "x")], opset=opset))["LB104"]
    assert found.found == f"opset {opset}"
    assert found.allowed == f"opset 7 to {NEWEST}"
    assert "export" in found.hint


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_in_the_range_is_read(opset: int) -> None:
    assert import_model(model([node("Relu", "x")], opset=opset)).graph.opset == opset


def test_a_model_that_names_no_opset_is_refused() -> None:
    proto = model([node("Relu", "x")])
    del proto.opset_import[:]
    assert refusal(proto)["LB104"].found == "no opset_import"


def test_a_domain_without_an_imported_version_is_refused() -> None:
    proto = model([node("Relu", "x", domain="other")])
    del proto.opset_import[1:]
    assert "other" in refusal(proto)["LB104"].message


def test_unknown_operators_stay_on_the_cpu_with_one_warning_for_all() -> None:
    nodes = [
        node("FusedConv", "x", "a", name="f0", domain="com.microsoft"),
        node("FusedConv", "a", name="f1", domain="com.microsoft"),
    ]
    imported = import_model(model(nodes))
    found = noticed(imported)["LB105"]
    assert "com.microsoft.FusedConv" in found.message
    assert [s.node for s in found.sources] == ["f0", "f1"]
    assert imported.graph.domains == (("com.microsoft", 1),)
    assert all(n.op == "HostOp" for n in imported.graph.nodes)


def test_operators_of_other_domains_stay_on_the_cpu() -> None:
    kept, reason = host(
        model([node("Scaler", "x", domain="ai.onnx.ml", offset=[0.0], scale=[2.0])])
    )
    assert (kept.domain, kept.op_type) == ("ai.onnx.ml", "Scaler")
    assert "ai.onnx.ml.Scaler" in reason


def test_a_withdrawn_operator_says_since_when() -> None:
    proto = model([node("Upsample", "x s")], constants={"s": _ONE}, opset=13)
    assert "withdrawn in opset 10" in refusal(proto)["LB105"].message


def test_an_unknown_attribute_is_an_error() -> None:
    found = refusal(model([node("Conv", "x w", name="c", padding=[1, 1])], constants=_conv()))
    assert found["LB118"].found == "padding"
    assert "pads" in found["LB118"].allowed
    assert found["LB118"].sources[0].node == "c"


def test_an_attribute_of_another_kind_is_an_error() -> None:
    found = refusal(model([node("Conv", "x w", strides=2)], constants=_conv()))["LB118"]
    assert (found.found, found.allowed) == ("INT", "INTS")


def test_a_missing_attribute_is_an_error() -> None:
    assert refusal(model([node("Concat", "x x")]))["LB118"].allowed == "axis"


def test_too_many_inputs_are_an_error() -> None:
    assert refusal(model([node("Relu", "x x")]))["LB118"].allowed == "1 to 1"


def _conv() -> dict[str, np.typing.NDArray[np.float32]]:
    return {"w": np.ones((4, 4, 1, 1), np.float32)}


def _batch_norm(outputs: str = "y", opset: int = 17, **held: int) -> ModelProto:
    bn = node("BatchNormalization", "x s b m v", outputs, name="bn", **held)
    return model([bn], constants=_STATISTICS, opset=opset)


@pytest.mark.parametrize("opset", [o for o in OPSETS if o >= 14])
def test_batch_norm_with_training_mode_is_refused(opset: int) -> None:
    found = refusal(_batch_norm("y m1 v1", opset, training_mode=1))["LB111"]
    assert (found.found, found.sources[0].node) == ("training_mode=1", "bn")
    assert "eval()" in found.hint


@pytest.mark.parametrize("opset", [o for o in OPSETS if o < 14])
def test_older_batch_norm_that_gives_its_statistics_is_refused(opset: int) -> None:
    assert "m1" in refusal(_batch_norm("y m1 v1 sm sv", opset))["LB111"].found


def test_batch_norm_with_is_test_0_is_refused() -> None:
    assert refusal(_batch_norm(opset=9, is_test=0))["LB111"].found == "is_test=0"


def test_dropout_in_training_mode_is_refused() -> None:
    held = {"r": np.asarray(0.5, np.float32), "t": np.asarray(1, np.bool_)}
    found = refusal(model([node("Dropout", "x r t")], constants=held))["LB111"]
    assert "Dropout" in found.message


def test_integer_operators_stay_on_the_cpu_with_a_warning() -> None:
    nodes = [node("DynamicQuantizeLinear", "x", "q s z", name="quant")]
    imported = import_model(model(nodes, outputs=("q", "s", "z")))
    found = noticed(imported)["LB122"]
    assert [s.node for s in found.sources] == ["quant"]
    assert imported.graph.tensor("q").element.name == "uint8"
    assert set(imported.graph.host_reasons) == {"quant"}


def test_weights_behind_a_dequantize_are_read_as_floats() -> None:
    held = {
        "q": np.asarray([[[[2]]]], np.int8),
        "s": np.asarray(0.5, np.float32),
        "z": np.asarray(0, np.int8),
    }
    nodes = [node("DequantizeLinear", "q s z", "w", name="d"), node("Conv", "x w", name="c")]
    graph = import_model(model(nodes, inputs=[info("x", 1, 1, 4, 4)], constants=held)).graph
    assert [n.op for n in graph.nodes] == ["Conv"]
    np.testing.assert_array_equal(graph.constants["w"], np.ones((1, 1, 1, 1), np.float32))


def test_shapes_that_contradict_each_other_name_the_node() -> None:
    proto = model([node("Conv", "x w", name="c")], constants={"w": np.ones((4, 4, 1), np.float32)})
    found = refusal(proto)["LB121"]
    assert found.sources[0].node == "c"
    assert "float32 [1, 4, 6, 6]" in found.found


def test_the_long_spelling_of_onnx_s_domain_is_the_same() -> None:
    proto = model([node("Relu", "x", domain="ai.onnx")])
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("ai.onnx", 15))
    graph = import_model(proto).graph
    assert ([n.op for n in graph.nodes], graph.opset, graph.domains) == (["Relu"], 15, ())
