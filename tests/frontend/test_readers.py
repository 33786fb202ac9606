"""Attributes are normalised, and what no typed operator says stays on the CPU with its reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from lowbitc.compiler.frontend.reading import READERS
from lowbitc.compiler.ir import ops
from tests.frontend.models import assert_same_numbers, host, info, model, node, one_node, read

_F32, _I64 = np.float32, np.int64
_KERNEL = np.arange(4 * 4 * 3 * 2, dtype=_F32).reshape(4, 4, 3, 2) / 96


def _conv(**held: Any) -> ops.Conv:  # noqa: ANN401 - attributes of any kind
    proto = model([node("Conv", "x w", **held)], constants={"w": _KERNEL})
    found = one_node(assert_same_numbers(proto))
    assert isinstance(found, ops.Conv)
    return found


def test_a_convolution_s_defaults_are_written_out() -> None:
    found = _conv()
    assert (found.kernel, found.stride, found.dilation) == ((3, 2), (1, 1), (1, 1))
    assert (found.pads, found.groups, found.inputs) == ((0, 0, 0, 0), 1, ("x", "w"))


@pytest.mark.parametrize(
    ("held", "pads"),
    [
        ({"auto_pad": "SAME_UPPER"}, (1, 0, 1, 1)),
        ({"auto_pad": "SAME_LOWER"}, (1, 1, 1, 0)),
        ({"auto_pad": "VALID"}, (0, 0, 0, 0)),
        ({"auto_pad": "NOTSET", "pads": [2, 1, 0, 1]}, (2, 1, 0, 1)),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 3]}, (0, 0, 1, 0)),
        ({"auto_pad": "SAME_LOWER", "strides": [4, 4]}, (1, 0, 0, 0)),
        ({"auto_pad": "SAME_UPPER", "kernel_shape": [3, 2]}, (1, 0, 1, 1)),
    ],
)
def test_automatic_padding_becomes_explicit(held: dict[str, Any], pads: tuple[int, ...]) -> None:
    assert _conv(**held).pads == pads


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 2], [3, 2]])
def test_automatic_padding_of_pools(mode: str, op_type: str, strides: list[int]) -> None:
    pool = node(op_type, "x", auto_pad=mode, kernel_shape=[3, 2], strides=strides)
    assert one_node(assert_same_numbers(model([pool]))).op == op_type


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_and_bias(groups: int) -> None:
    held = {"w": np.ones((4, 4 // groups, 3, 3), _F32), "b": np.arange(4, dtype=_F32)}
    proto = model([node("Conv", "x w b", group=groups)], constants=held)
    found = one_node(assert_same_numbers(proto))
    assert isinstance(found, ops.Conv)
    assert (found.groups, found.inputs) == (groups, ("x", "w", "b"))


def test_a_convolution_along_one_dimension() -> None:
    held = {"w": np.ones((2, 4, 3), _F32)}
    proto = model(
        [node("Conv", "x w", dilations=[2], auto_pad="SAME_UPPER")],
        inputs=[info("x", 1, 4, 9)],
        constants=held,
    )
    found = read(proto)  # ONNX Runtime pads no dilated kernel by itself
    assert isinstance(found, ops.Conv)
    assert (found.kernel, found.dilation, found.pads) == ((3,), (2,), (2, 2))


@pytest.mark.parametrize(
    "held",
    [
        {},
        {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 0]},
        {"strides": [2, 2], "output_shape": [12, 12]},
        {"strides": [2, 2], "output_shape": [12, 12], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"dilations": [2, 1], "group": 2},
        {"auto_pad": "VALID", "strides": [2, 1]},
    ],
)
def test_transposed_convolutions(held: dict[str, Any]) -> None:
    weight = np.arange(4 * 3 * 9, dtype=_F32).reshape(4, 3, 3, 3) / 108
    proto = model([node("ConvTranspose", "x w", **held)], constants={"w": weight})
    assert one_node(assert_same_numbers(proto)).op == "ConvTranspose"


@pytest.mark.parametrize(("size", "ceil"), [(6, True), (7, False)])
def test_ceil_mode_is_kept_only_where_it_matters(size: int, ceil: bool) -> None:  # noqa: FBT001
    pool = node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    found = read(model([pool], inputs=[info("x", 1, 4, size, size)]))
    assert isinstance(found, ops.MaxPool)
    assert found.ceil_mode is ceil


@pytest.mark.parametrize(("pads", "counts"), [([1, 1, 1, 1], True), ([0, 0, 0, 0], False)])
def test_padding_counts_only_where_there_is_some(
    pads: list[int],
    counts: bool,  # noqa: FBT001 - the expected flag
) -> None:
    pool = node("AveragePool", "x", kernel_shape=[3, 3], pads=pads, count_include_pad=1)
    found = one_node(assert_same_numbers(model([pool])))
    assert isinstance(found, ops.AveragePool)
    assert found.count_padding is counts


def test_indices_that_nothing_reads_are_dropped() -> None:
    found = read(model([node("MaxPool", "x", "y i", kernel_shape=[2, 2])]))
    assert (found.op, found.outputs) == ("MaxPool", ("y",))


def test_indices_that_are_read_keep_the_pool_on_the_cpu() -> None:
    proto = model([node("MaxPool", "x", "y i", kernel_shape=[2, 2])], outputs=["y", "i"])
    assert "indices" in host(proto)[1]


@pytest.mark.parametrize(
    ("op_type", "names", "low", "high"),
    [
        ("Max", "x c", 2.0, np.inf),
        ("Max", "c x", 2.0, np.inf),
        ("Min", "x c", -np.inf, 2.0),
    ],
)
def test_a_bound_by_one_number_is_a_clamp(
    op_type: str, names: str, low: float, high: float
) -> None:
    proto = model([node(op_type, names)], constants={"c": np.asarray(2, _F32)})
    found = one_node(assert_same_numbers(proto))
    assert isinstance(found, ops.Clamp)
    assert (found.low, found.high, found.inputs) == (low, high, ("x",))


def test_a_prelu_with_one_slope_is_a_leaky_relu() -> None:
    held = {"s": np.full((4, 1, 1), 0.25, _F32)}
    found = one_node(assert_same_numbers(model([node("PRelu", "x s")], constants=held)))
    assert isinstance(found, ops.LeakyRelu)
    assert (found.alpha, found.inputs) == (0.25, ("x",))


def test_a_square_is_a_product() -> None:
    proto = model([node("Pow", "x two")], constants={"two": np.asarray(2, _F32)})
    found = one_node(assert_same_numbers(proto))
    assert (found.op, found.inputs) == ("Mul", ("x", "x"))


def test_a_sum_of_two_is_an_add() -> None:
    proto = model([node("Sum", "x z")], inputs=[info("x", 1, 4), info("z", 1, 4)])
    assert one_node(assert_same_numbers(proto)).op == "Add"


@pytest.mark.parametrize(
    ("places", "kind"),
    [([1, 2], "Slice"), ([-1], "Slice"), ([0, 1, 2, 3], "Identity"), ([2, 0], "HostOp")],
)
def test_gathering_neighbours_is_a_slice(places: list[int], kind: str) -> None:
    held = {"i": np.asarray(places, _I64)}
    proto = model([node("Gather", "x i", axis=1)], constants=held)
    assert one_node(assert_same_numbers(proto)).op == kind


def test_an_expand_to_the_same_shape_is_an_identity() -> None:
    held = {"s": np.asarray([1, 4, 6, 6], _I64)}
    assert read(model([node("Expand", "x s")], constants=held)).op == "Identity"


def test_a_slice_of_everything_is_an_identity() -> None:
    held = {"s": np.asarray([0], _I64), "e": np.asarray([2**63 - 1], _I64)}
    assert read(model([node("Slice", "x s e")], constants=held)).op == "Identity"


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (
            model(
                [node("Slice", "x s e a p")],
                constants={
                    "s": np.asarray([-1]),
                    "e": np.asarray([-9]),
                    "a": np.asarray([2]),
                    "p": np.asarray([-1]),
                },
            ),
            "it reverses its input",
        ),
        (
            model(
                [node("Pad", "x p")],
                inputs=[info("x", 1, 4), info("p", 4, kind=TensorProto.INT64)],
            ),
            "y has a shape that depends on the data",
        ),
        (
            model([node("Relu", "x")], inputs=[info("x", 1, 4, kind=TensorProto.DOUBLE)]),
            "x is float64, not float32",
        ),
        (
            model([node("Sum", "x x x")]),
            "it adds 3 tensors",
        ),
        (
            model([node("Max", "x x")]),
            "it compares tensors, not a tensor and a constant number",
        ),
        (
            model([node("LRN", "x", size=3)]),
            "LRN has no integer form here",
        ),
        (
            model([node("Expand", "x s")], constants={"s": np.asarray([3, 1, 4, 6, 6])}),
            "it repeats its input along an axis",
        ),
        (
            model(
                [node("PRelu", "x s")],
                constants={"s": np.asarray([[[1]], [[2]], [[3]], [[4]]], _F32)},
            ),
            "its slope is not one constant",
        ),
    ],
)
def test_the_reason_for_the_cpu_is_said(proto: Any, reason: str) -> None:  # noqa: ANN401
    assert host(proto)[1] == reason


def test_a_type_that_the_chip_lacks_keeps_identities() -> None:
    proto = model([node("Identity", "x")], inputs=[info("x", 1, 4, kind=TensorProto.INT64)])
    assert read(proto).op == "Identity"


def test_an_operator_newer_than_the_readers_stays_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(READERS, ("Relu", 14))
    assert host(model([node("Relu", "x")]))[1] == "Relu of opset 14 is newer than this lowbitc"
