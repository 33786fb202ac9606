"""Evaluate the operators that compute shapes, and simple arithmetic, on constants.

onnx's reference evaluator would give the same, but takes longer to import than a model to read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from onnx import helper, numpy_helper

from lowbitc.compiler.elements import Array
from lowbitc.compiler.onnx_types import numpy_dtype, plain_type

if TYPE_CHECKING:
    from onnx import NodeProto

    from lowbitc.compiler.frontend.attributes import Attributes

REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What numpy and onnx raise on operators and values that they do not take."""
Evaluator = Callable[[Sequence[Array], "Attributes"], Array]


def _integers(array: Array) -> list[int]:
    return [int(i) for i in array.ravel().tolist()]


def _axes(args: Sequence[Array], held: Attributes) -> tuple[int, ...] | None:
    return tuple(_integers(args[1])) if len(args) > 1 else held.integers("axes")


def _cast(args: Sequence[Array], held: Attributes) -> Array:
    return args[0].astype(numpy_dtype(plain_type(held.integer("to", 1))))


def _concat(args: Sequence[Array], held: Attributes) -> Array:
    return np.concatenate(args, axis=held.integer("axis", 1))


def _constant_of_shape(args: Sequence[Array], held: Attributes) -> Array:
    shape = tuple(_integers(args[0]))
    if "value" not in held:
        return np.zeros(shape, np.float32)
    return np.full(shape, numpy_helper.to_array(held.held["value"].t).ravel()[0])


def _dequantize(args: Sequence[Array], held: Attributes) -> Array:
    """Return (x - zero point) · scale, by tensor or along an axis; not by blocks."""
    if held.integer("block_size", 0) or args[1].dtype != np.float32:
        message = "scales by blocks, or not of float32"
        raise ValueError(message)
    shape = [1] * args[0].ndim
    if args[1].size > 1:
        shape[held.integer("axis", 1)] = -1
    levels = np.asarray(args[0], np.int32)
    if len(args) > 2:  # noqa: PLR2004 - x, scale, zero point
        levels = levels - np.asarray(args[2], np.int32).reshape(shape)
    return np.asarray(levels, np.float32) * np.asarray(args[1], np.float32).reshape(shape)


def _div(args: Sequence[Array], _: Attributes) -> Array:
    """Divide; integers round towards zero, as ONNX has it and numpy has not."""
    if not np.issubdtype(args[0].dtype, np.integer):
        return np.asarray(np.true_divide(*args), args[0].dtype)
    a, b = (np.asarray(arg, np.int64) for arg in args)
    size = np.floor_divide(np.abs(a), np.abs(b))
    return np.asarray(np.sign(a) * np.sign(b) * size, args[0].dtype)


def _gather(args: Sequence[Array], held: Attributes) -> Array:
    return np.take(args[0], args[1].astype(np.int64), axis=held.integer("axis", 0))


def _reshape(args: Sequence[Array], held: Attributes) -> Array:
    shape = _integers(args[1])
    if not held.integer("allowzero", 0):
        shape = [args[0].shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return args[0].reshape(shape)


def _slice(args: Sequence[Array], held: Attributes) -> Array:
    data = args[0]
    if len(args) == 1:
        starts, ends = held.integers("starts") or (), held.integers("ends") or ()
        axes, steps = held.integers("axes"), None
    else:
        starts, ends = tuple(_integers(args[1])), tuple(_integers(args[2]))
        axes = tuple(_integers(args[3])) if len(args) > 3 else None  # noqa: PLR2004
        steps = tuple(_integers(args[4])) if len(args) > 4 else None  # noqa: PLR2004
    cuts = [slice(None)] * data.ndim
    axes = tuple(range(len(starts))) if axes is None else axes
    for start, end, axis, step in zip(starts, ends, axes, steps or (1,) * len(axes), strict=True):
        # A last element that is before the first, going backwards, is none: -1 would wrap.
        size = data.shape[axis]
        first, last, _ = slice(start, end, step).indices(size)
        cuts[axis] = slice(first, None if step < 0 and last < 0 else last, step)
    return data[tuple(cuts)]


def _squeeze(args: Sequence[Array], held: Attributes) -> Array:
    return np.squeeze(args[0], axis=_axes(args, held))


def _unsqueeze(args: Sequence[Array], held: Attributes) -> Array:
    return np.expand_dims(args[0], _axes(args, held) or ())


def _transpose(args: Sequence[Array], held: Attributes) -> Array:
    return np.transpose(args[0], held.integers("perm"))


def _same(args: Sequence[Array], _: Attributes) -> Array:
    return args[0]


def _numpy(function: Callable[..., object]) -> Evaluator:
    """Evaluate by a function of numpy that means the same."""

    def evaluate(args: Sequence[Array], _: Attributes) -> Array:
        return np.asarray(function(*args))

    return evaluate


def _expand(args: Sequence[Array], _: Attributes) -> Array:
    shape = np.broadcast_shapes(args[0].shape, tuple(_integers(args[1])))
    return np.broadcast_to(args[0], shape).copy()


def _range(args: Sequence[Array], _: Attributes) -> Array:
    start, limit, delta = (arg.item() for arg in args)
    return np.arange(start, limit, delta, dtype=args[0].dtype)


EVALUATORS: dict[str, Evaluator] = {
    "Add": _numpy(np.add),
    "And": _numpy(np.logical_and),
    "Cast": _cast,
    "Ceil": _numpy(np.ceil),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": _dequantize,
    "Div": _div,
    "Equal": _numpy(np.equal),
    "Expand": _expand,
    "Floor": _numpy(np.floor),
    "Gather": _gather,
    "Greater": _numpy(np.greater),
    "Identity": _same,
    "Less": _numpy(np.less),
    "Mul": _numpy(np.multiply),
    "Neg": _numpy(np.negative),
    "Not": _numpy(np.logical_not),
    "Or": _numpy(np.logical_or),
    "Range": _range,
    "Reshape": _reshape,
    "Slice": _slice,
    "Sqrt": _numpy(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _numpy(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _numpy(np.where),
}
"""Evaluators of operators with one output and no input left out."""


def evaluate_by_reference(node: NodeProto, args: dict[str, Array], opset: int) -> list[Array] | str:
    """Evaluate any operator of ONNX; the reason where that cannot be done."""
    # Importing it takes a fifth of a second, and few models need it.
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415

    graph = helper.make_graph(
        [node],
        "constants",
        [helper.make_empty_tensor_value_info(value) for value in args],
        [helper.make_empty_tensor_value_info(value) for value in node.output if value],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        made: object = ReferenceEvaluator(model).run(None, args)  # pyright: ignore[reportUnknownMemberType]
    except REFUSALS as reason:
        return f"{type(reason).__name__}: {reason}"
    results = cast("list[object]", made)
    if not all(isinstance(one, (np.ndarray, np.generic)) for one in results):
        return "its results are no tensors"
    return [np.asarray(one) for one in results]
