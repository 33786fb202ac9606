"""Fold nodes whose inputs are constants, and shapes that are known."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import Diagnostic, note
from lowbitc.compiler.elements import I64, Array, PlainType
from lowbitc.compiler.frontend.attributes import Attributes
from lowbitc.compiler.frontend.evaluators import EVALUATORS, REFUSALS, evaluate_by_reference
from lowbitc.compiler.ir.types import OpaqueType
from lowbitc.compiler.onnx_types import numpy_dtype

if TYPE_CHECKING:
    from lowbitc.compiler.frontend.structure import Step
    from lowbitc.compiler.frontend.values import KnownValues
    from lowbitc.compiler.ir.types import TensorType

RANDOM = frozenset(
    {
        *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"),
        *("RandomUniform", "RandomUniformLike"),
    }
)
LARGEST_BYTES = 64 << 20
"""Larger results stay computed: as constants they would swell every program."""


def fold(step: Step, values: KnownValues, opset: int) -> Diagnostic | bool:
    """Make the outputs of a node constants: True when done, a note when it was not worth it."""
    node = step.proto
    if node.op_type in {"Shape", "Size"}:
        return _fold_shape(step, values)
    inputs = [value for value in node.input if value]
    constants = {value: values.constants[value] for value in inputs if value in values.constants}
    if len(constants) < len(set(inputs)) or _has_subgraph(step):
        return False
    opaque = any(isinstance(values.types.get(v), OpaqueType) for v in node.output)
    if node.op_type in RANDOM or opaque:
        return False
    size = max((_size_bytes(values.tensor(v)) for v in node.output if v), default=0)
    if size > LARGEST_BYTES:
        return note(
            "LB124",
            f"{step.name} ({node.op_type}) is constant, but stays on the CPU: "
            f"its result has {size:,} bytes",
            sources=[step.source],
            found=f"{size:,} bytes, more than {LARGEST_BYTES:,}",
            hint="store the result in the model as an initializer",
        )
    made = _evaluate(step, constants, opset)
    if isinstance(made, str):
        message = f"{step.name} ({node.op_type}) is constant, but was not computed: {made}"
        return note("LB126", message, sources=[step.source])
    for value, elements in zip((v for v in node.output if v), made, strict=True):
        values.add_constant(value, *_of_type(elements, values.tensor(value)))
    return True


def _evaluate(step: Step, constants: dict[str, Array], opset: int) -> list[Array] | str:
    node = step.proto
    own = EVALUATORS.get(node.op_type)
    if own is not None and all(node.input) and len(node.output) == 1:
        with np.errstate(all="ignore"), contextlib.suppress(*REFUSALS):
            return [own(tuple(constants[v] for v in node.input), Attributes.of(node))]
    return evaluate_by_reference(node, constants, opset)


def _fold_shape(step: Step, values: KnownValues) -> bool:
    held = values.tensor(step.proto.input[0])
    if not held.known:
        return False
    given = Attributes.of(step.proto)
    if step.proto.op_type == "Size":
        made = np.asarray(held.size, np.int64)
    else:
        end = given.integer("end", len(held.dims))
        made = np.asarray(held.dims[given.integer("start", 0) : end], np.int64)
    values.add_constant(step.proto.output[0], made, I64)
    return True


def _has_subgraph(step: Step) -> bool:
    return any(a.HasField("g") or a.graphs for a in step.proto.attribute)


def _size_bytes(held: TensorType) -> int:
    if not isinstance(held.element, PlainType):
        return 0
    return held.size * numpy_dtype(held.element).itemsize


def _of_type(elements: Array, held: TensorType) -> tuple[Array, PlainType]:
    """Give a result the element type that inference found, which numpy may have widened."""
    element = held.element
    if not isinstance(element, PlainType) or element.name == "undefined":
        return elements, PlainType(str(elements.dtype))
    return np.asarray(elements, numpy_dtype(element)), element
