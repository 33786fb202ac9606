"""Operators whose form changed over the opsets are read alike from every one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, defs

from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.frontend.reading import READERS
from lowbitc.compiler.ir import ops
from tests.frontend.models import (
    NEWEST,
    OPSETS,
    assert_same_numbers,
    host,
    info,
    model,
    node,
    one_node,
)

if TYPE_CHECKING:
    from lowbitc.compiler.ir.node import Node

_F32, _I64 = np.float32, np.int64
_RUNS_TO = 21
"""ONNX Runtime's release that the floor of dependencies allows runs opsets up to this one."""
_READ_TO = 28
"""Newest opset whose schemas the readers were compared with."""


def _same(proto: ModelProto) -> Node:
    """Import a model and compare it with ONNX Runtime, as far as that goes; return its node."""
    if proto.opset_import[0].version > _RUNS_TO:
        return one_node(import_model(proto))
    return one_node(assert_same_numbers(proto))


def test_every_version_of_a_read_operator_is_known() -> None:
    read = {op_type for op_type, _ in READERS}
    missing: set[tuple[str, int]] = set()
    for op_type in read:
        for opset in range(7, min(NEWEST, _READ_TO) + 1):
            try:
                schema = defs.get_schema(op_type, opset, "")
            except defs.SchemaError:
                continue
            if not schema.deprecated and (op_type, schema.since_version) not in READERS:
                missing.add((op_type, schema.since_version))
    assert not missing


@pytest.mark.parametrize("opset", OPSETS)
def test_batch_norm(opset: int) -> None:
    names = {"s": 1.5, "b": 0.5, "m": 0.25, "v": 2.0}
    held = {name: np.full(4, value, _F32) for name, value in names.items()}
    bn = node("BatchNormalization", "x s b m v", epsilon=0.25)
    found = _same(model([bn], constants=held, opset=opset))
    assert isinstance(found, ops.BatchNorm)
    assert (found.epsilon, found.inputs) == (0.25, ("x", "s", "b", "m", "v"))


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, None), (None, 2.0), (None, None)])
def test_clip(opset: int, low: float | None, high: float | None) -> None:
    if opset < 11:
        held: dict[str, Any] = {k: v for k, v in (("min", low), ("max", high)) if v is not None}
        proto = model([node("Clip", "x", **held)], opset=opset)
    else:
        bounds = {k: v for k, v in (("lo", low), ("hi", high)) if v is not None}
        names = f"x {'lo' if low is not None else '-'} {'hi' if high is not None else '-'}"
        constants = {k: np.asarray(v, _F32) for k, v in bounds.items()}
        proto = model([node("Clip", names)], constants=constants, opset=opset)
    found = _same(proto)
    assert isinstance(found, ops.Clamp)
    assert found.low == (-np.inf if low is None else low)
    assert found.high == (np.inf if high is None else high)
    assert found.inputs == ("x",)


def test_clip_by_the_largest_float_is_open() -> None:
    largest = float(np.finfo(_F32).max)
    found = _same(model([node("Clip", "x", min=-largest, max=largest)], opset=9))
    assert isinstance(found, ops.Clamp)
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_clip_with_computed_bounds_stays_on_the_cpu() -> None:
    proto = model([node("Clip", "x lo")], inputs=[info("x", 1, 4), info("lo")])
    assert host(proto)[1] == "its bounds are computed at run time"


@pytest.mark.parametrize("opset", OPSETS)
def test_dropout_is_an_identity(opset: int) -> None:
    held: dict[str, Any] = {} if opset >= 12 else {"ratio": 0.5}
    assert _same(model([node("Dropout", "x", "y mask", **held)], opset=opset)).op == "Identity"


@pytest.mark.parametrize("opset", [o for o in OPSETS if o >= 12])
def test_dropout_whose_training_mode_is_false_is_an_identity(opset: int) -> None:
    held = {"r": np.asarray(0.5, _F32), "t": np.asarray(0, np.bool_)}
    assert _same(model([node("Dropout", "x r t")], constants=held, opset=opset)).op == "Identity"


def test_dropout_that_gives_its_mask_stays_on_the_cpu() -> None:
    assert "mask" in host(model([node("Dropout", "x", "y mask")], outputs=["y", "mask"]))[1]


def _axes(op_type: str, axes: list[int], opset: int, since: int, *shape: int) -> ModelProto:
    """Make a node with axes as an attribute, or as an input since an opset."""
    inputs = [info("x", *shape)]
    if opset < since:
        return model([node(op_type, "x", axes=axes)], inputs=inputs, opset=opset)
    held = {"axes": np.asarray(axes, _I64)}
    return model([node(op_type, "x axes")], inputs=inputs, constants=held, opset=opset)


@pytest.mark.parametrize("opset", OPSETS)
def test_squeeze(opset: int) -> None:
    axes = [3, 1] if opset < 11 else [-1, 1]
    found = _same(_axes("Squeeze", axes, opset, 13, 2, 1, 3, 1))
    assert isinstance(found, ops.Squeeze)
    assert found.axes == (1, 3)


@pytest.mark.parametrize("opset", OPSETS)
def test_squeeze_without_axes_drops_all_ones(opset: int) -> None:
    found = _same(model([node("Squeeze", "x")], inputs=[info("x", 1, 3, 1)], opset=opset))
    assert isinstance(found, ops.Squeeze)
    assert found.axes == (0, 2)


@pytest.mark.parametrize("opset", OPSETS)
def test_unsqueeze(opset: int) -> None:
    axes = [3, 1] if opset < 11 else [-1, 1]
    found = _same(_axes("Unsqueeze", axes, opset, 13, 2, 3))
    assert isinstance(found, ops.Unsqueeze)
    assert found.axes == (1, 3)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduce_mean(opset: int, keepdims: int) -> None:
    proto = _axes("ReduceMean", [3, 2] if opset < 11 else [-1, 2], opset, 18, 1, 4, 6, 6)
    proto.graph.node[0].attribute.extend(node("ReduceMean", "x", keepdims=keepdims).attribute)
    found = _same(proto)
    assert isinstance(found, ops.ReduceMean)
    assert (found.axes, found.keepdims) == ((2, 3), bool(keepdims))


@pytest.mark.parametrize("opset", OPSETS)
def test_reduce_mean_without_axes_is_over_all(opset: int) -> None:
    found = _same(model([node("ReduceMean", "x")], opset=opset))
    assert isinstance(found, ops.ReduceMean)
    assert (found.axes, found.keepdims) == ((0, 1, 2, 3), True)


def test_reduce_mean_over_no_axes_can_be_an_identity() -> None:
    mean = node("ReduceMean", "x axes", noop_with_empty_axes=1)
    found = _same(model([mean], constants={"axes": np.asarray([], _I64)}, opset=18))
    assert found.op == "Identity"


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("axis", [None, 1, 3])
def test_softmax(opset: int, axis: int | None) -> None:
    held: dict[str, Any] = {} if axis is None else {"axis": axis}
    found = _same(model([node("Softmax", "x", **held)], opset=opset))
    assert isinstance(found, ops.Softmax)
    default = 1 if opset < 13 else 3
    assert found.axis == (default if axis is None else axis)
    assert found.coerce is (opset < 13 and found.axis == 1)


def test_old_softmax_over_a_last_axis_needs_no_coercion() -> None:
    found = _same(model([node("Softmax", "x")], inputs=[info("x", 1, 10)], opset=9))
    assert isinstance(found, ops.Softmax)
    assert not found.coerce


@pytest.mark.parametrize("opset", OPSETS)
def test_slice(opset: int) -> None:
    cut: dict[str, Any] = {"starts": [1, -5], "ends": [3, 2**31 - 1], "axes": [1, 3]}
    if opset < 10:
        proto = model([node("Slice", "x", **cut)], opset=opset)
    else:
        held = {name: np.asarray(value, _I64) for name, value in cut.items()}
        held["steps"] = np.asarray([1, 2], _I64)
        proto = model([node("Slice", "x starts ends axes steps")], constants=held, opset=opset)
    found = _same(proto)
    assert isinstance(found, ops.Slice)
    assert (found.starts, found.ends, found.axes) == ((1, 1), (3, 6), (1, 3))
    assert found.steps == ((1, 1) if opset < 10 else (1, 2))


@pytest.mark.parametrize("opset", OPSETS)
def test_split_by_sizes(opset: int) -> None:
    if opset < 13:
        split = node("Split", "x", "y z", axis=1, split=[1, 3])
        proto = model([split], outputs=["y", "z"], opset=opset)
    else:
        split = node("Split", "x sizes", "y z", axis=1)
        held = {"sizes": np.asarray([1, 3], _I64)}
        proto = model([split], outputs=["y", "z"], constants=held, opset=opset)
    found = _same(proto)
    assert isinstance(found, ops.Split)
    assert (found.axis, found.sizes, found.outputs) == (1, (1, 3), ("y", "z"))


@pytest.mark.parametrize("opset", OPSETS)
def test_split_in_equal_parts(opset: int) -> None:
    held: dict[str, Any] = {"num_outputs": 3} if opset >= 18 else {}
    split = node("Split", "x", "a b c", axis=-1 if opset >= 11 else 3, **held)
    found = _same(model([split], outputs=["a", "b", "c"], opset=opset))
    assert isinstance(found, ops.Split)
    assert (found.axis, found.sizes) == (3, (2, 2, 2))


@pytest.mark.parametrize("opset", OPSETS)
def test_pad(opset: int) -> None:
    pads = [0, 0, 1, 2, 0, 0, 3, 0]
    if opset < 11:
        proto = model([node("Pad", "x", pads=pads, value=-1.5)], opset=opset)
    else:
        held = {"pads": np.asarray(pads, _I64), "value": np.asarray(-1.5, _F32)}
        proto = model([node("Pad", "x pads value")], constants=held, opset=opset)
    found = _same(proto)
    assert isinstance(found, ops.Pad)
    assert (found.pads, found.mode, found.value) == (tuple(pads), "constant", -1.5)


@pytest.mark.parametrize("opset", [o for o in OPSETS if o >= 18])
def test_pad_of_some_axes(opset: int) -> None:
    held = {"pads": np.asarray([1, 2, 3, 0]), "axes": np.asarray([-1, 2])}
    found = _same(model([node("Pad", "x pads - axes")], constants=held, opset=opset))
    assert isinstance(found, ops.Pad)
    assert found.pads == (0, 0, 2, 1, 0, 0, 0, 3)


@pytest.mark.parametrize(("mode", "since"), [("reflect", 7), ("edge", 7), ("wrap", 19)])
def test_pad_modes(mode: str, since: int) -> None:
    for opset in (o for o in OPSETS if o >= since):
        pads = [0, 0, 1, 2, 0, 0, 3, 0]
        if opset < 11:
            proto = model([node("Pad", "x", pads=pads, mode=mode)], opset=opset)
        else:
            held = {"pads": np.asarray(pads, _I64)}
            proto = model([node("Pad", "x pads", mode=mode)], constants=held, opset=opset)
        found = _same(proto)
        assert isinstance(found, ops.Pad)
        assert found.mode == mode


@pytest.mark.parametrize(
    ("pads", "kind"),
    [
        ([0] * 8, "Identity"),
        ([0, 0, -1, 0, 0, 0, 0, -2], "Slice"),
        ([0, 0, -1, 0, 0, 0, 1, 0], "HostOp"),
    ],
)
def test_pads_that_cut(pads: list[int], kind: str) -> None:
    held = {"pads": np.asarray(pads, _I64)}
    assert _same(model([node("Pad", "x pads")], constants=held)).op == kind


@pytest.mark.parametrize(("opset", "op_type"), [(7, "Upsample"), (9, "Upsample"), (10, "Resize")])
def test_upsample_and_the_first_resize(opset: int, op_type: str) -> None:
    scales = [1.0, 1.0, 2.0, 3.0]
    if opset < 9:
        proto = model([node(op_type, "x", scales=scales)], opset=opset)
    else:
        held = {"s": np.asarray(scales, _F32)}
        proto = model([node(op_type, "x s")], constants=held, opset=opset)
    found = _same(proto)
    assert isinstance(found, ops.Upsample)
    assert (found.factors, found.inputs) == ((1, 1, 2, 3), ("x",))


@pytest.mark.parametrize("opset", [o for o in OPSETS if o >= 11])
@pytest.mark.parametrize("by", ["scales", "sizes"])
def test_resize(opset: int, by: str) -> None:
    held = {"scales": np.asarray([1, 1, 2, 3], _F32)}
    names = "x - scales"
    if by == "sizes":
        held, names = {"sizes": np.asarray([1, 4, 12, 18], _I64)}, "x - - sizes"
    if opset < 13:  # roi and scales were not optional yet
        held |= {"roi": np.asarray([], _F32)}
        held |= {} if by == "scales" else {"scales": np.asarray([], _F32)}
        names = "x roi scales" if by == "scales" else "x roi scales sizes"
    resize = node(
        "Resize", names, nearest_mode="floor", coordinate_transformation_mode="asymmetric"
    )
    found = _same(model([resize], constants=held, opset=opset))
    assert isinstance(found, ops.Upsample)
    assert found.factors == (1, 1, 2, 3)


@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize(
    "coordinates",
    [
        *("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"),
        *("tf_half_pixel_for_nn", "half_pixel_symmetric", "tf_crop_and_resize"),
    ],
)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_resize_is_an_upsample_only_where_the_map_is_the_same(
    coordinates: str, rounding: str, factor: int
) -> None:
    opset = 19 if coordinates == "half_pixel_symmetric" else 11
    held = {"roi": np.asarray([0, 0, 0, 0, 1, 1, 1, 1], _F32)}
    held["scales"] = np.asarray([1, 1, factor, 1], _F32)
    resize = node(
        "Resize",
        "x roi scales",
        nearest_mode=rounding,
        coordinate_transformation_mode=coordinates,
    )
    found = _same(model([resize], inputs=[info("x", 1, 2, 5, 2)], constants=held, opset=opset))
    plain = (coordinates, rounding) == ("asymmetric", "floor")
    centred = "half_pixel" in coordinates and "for_nn" not in coordinates
    if plain or (centred and rounding.startswith("round")):
        assert found.op == "Upsample"


@pytest.mark.parametrize(
    ("scales", "mode", "kind"),
    [
        ([1, 1, 1.5, 1], "nearest", "HostOp"),
        ([1, 1, 0.5, 1], "nearest", "HostOp"),
        ([1, 1, 2, 2], "linear", "HostOp"),
        ([1, 1, 1, 1], "linear", "Identity"),
    ],
)
def test_other_resizes(scales: list[float], mode: str, kind: str) -> None:
    held = {"scales": np.asarray(scales, _F32)}
    assert _same(model([node("Resize", "x - scales", mode=mode)], constants=held)).op == kind


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("wanted", [[0, -1], [1, 144], [-1, 144]])
def test_reshape_that_keeps_the_batch(opset: int, wanted: list[int]) -> None:
    held = {"s": np.asarray(wanted, _I64)}
    found = _same(model([node("Reshape", "x s")], constants=held, opset=opset))
    assert isinstance(found, ops.Reshape)
    assert (found.shape, found.inputs) == ((0, 144), ("x",))


def test_reshape_that_moves_the_batch_keeps_its_numbers() -> None:
    held = {"s": np.asarray([6, -1, 0], _I64)}
    proto = model([node("Reshape", "x s")], inputs=[info("x", 2, 3, 4)], constants=held)
    found = _same(proto)
    assert isinstance(found, ops.Reshape)
    assert found.shape == (6, 1, 4)


@pytest.mark.parametrize("opset", [o for o in OPSETS if o >= 14])
def test_reshape_to_nothing_stays_on_the_cpu(opset: int) -> None:
    proto = model(
        [node("Reshape", "x s", allowzero=1)],
        inputs=[info("x", 0, 3)],
        constants={"s": np.asarray([3, 0], _I64)},
        opset=opset,
    )
    imported = import_model(proto, shapes={"x": (0, 3)})
    assert imported.graph.shape("y") == (3, 0)
    assert one_node(imported).op == "HostOp"


@pytest.mark.parametrize("opset", OPSETS)
def test_cast_to_the_same_type_is_an_identity(opset: int) -> None:
    cast = node("Cast", "x", to=TensorProto.FLOAT)
    assert _same(model([cast], opset=opset)).op == "Identity"


@pytest.mark.parametrize("opset", OPSETS)
def test_cast_to_another_type_stays_on_the_cpu(opset: int) -> None:
    kept, reason = host(model([node("Cast", "x", to=TensorProto.INT32)], opset=opset))
    assert (kept.op_type, reason) == ("Cast", "it casts float32 to int32")


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("turn", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_gemm(opset: int, turn: tuple[int, int]) -> None:
    trans_a, trans_b = turn
    held = {"w": np.arange(12, dtype=_F32).reshape((3, 4) if trans_b else (4, 3))}
    held["c"] = np.asarray([1, 2, 3], _F32)
    gemm = node("Gemm", "x w c", alpha=0.5, beta=2.0, transA=trans_a, transB=trans_b)
    x = info("x", *((4, 2) if trans_a else (2, 4)))
    found = _same(model([gemm], inputs=[x], constants=held, opset=opset))
    assert isinstance(found, ops.Gemm)
    assert (found.alpha, found.beta) == (0.5, 2.0)
    assert (found.trans_a, found.trans_b) == (bool(trans_a), bool(trans_b))


@pytest.mark.parametrize("opset", [o for o in OPSETS if o >= 11])
def test_gemm_without_c(opset: int) -> None:
    held = {"w": np.ones((4, 3), _F32)}
    gemm = model([node("Gemm", "x w")], inputs=[info("x", 2, 4)], constants=held, opset=opset)
    assert _same(gemm).inputs == ("x", "w")


_PLAIN: list[tuple[str, dict[str, Any], int, str]] = [
    ("Relu", {}, 7, "Relu"),
    ("LeakyRelu", {"alpha": 0.25}, 7, "LeakyRelu"),
    ("Elu", {"alpha": 0.5}, 7, "Elu"),
    ("Sigmoid", {}, 7, "Sigmoid"),
    ("Tanh", {}, 7, "Tanh"),
    ("Erf", {}, 9, "Erf"),
    ("Softplus", {}, 7, "Softplus"),
    ("HardSigmoid", {"alpha": 0.25, "beta": 0.75}, 7, "HardSigmoid"),
    ("HardSwish", {}, 14, "HardSwish"),
    ("Gelu", {}, 20, "Gelu"),
    ("Gelu", {"approximate": "tanh"}, 20, "Gelu"),
    ("Swish", {}, 24, "Silu"),
    ("Swish", {"alpha": 2.0}, 24, "HostOp"),
    ("GlobalAveragePool", {}, 7, "GlobalAveragePool"),
    ("GlobalMaxPool", {}, 7, "GlobalMaxPool"),
    ("Flatten", {"axis": 2}, 7, "Flatten"),
    ("Flatten", {"axis": -2}, 11, "Flatten"),
    ("Transpose", {}, 7, "Transpose"),
    ("Transpose", {"perm": [0, 2, 3, 1]}, 7, "Transpose"),
    ("Identity", {}, 7, "Identity"),
    ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}, 7, "MaxPool"),
    ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 3]}, 10, "MaxPool"),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, 10, "MaxPool"),
    ("AveragePool", {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1]}, 7, "AveragePool"),
    ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, 19, "AveragePool"),
]


@pytest.mark.parametrize(("op_type", "held", "since", "kind"), _PLAIN)
def test_operators_of_one_input(op_type: str, held: dict[str, Any], since: int, kind: str) -> None:
    for opset in (o for o in OPSETS if o >= since):
        assert _same(model([node(op_type, "x", **held)], opset=opset)).op == kind


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("opset", OPSETS)
def test_arithmetic_broadcasts(op_type: str, opset: int) -> None:
    held = {"w": np.asarray([[[1]], [[2]], [[3]], [[4]]], _F32)}
    found = _same(model([node(op_type, "x w")], constants=held, opset=opset))
    assert (found.op, found.inputs) == (op_type, ("x", "w"))
