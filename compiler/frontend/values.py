"""What is known of values while a model is read: types, and the elements of constants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto, helper, numpy_helper, shape_inference

from lowbitc.compiler.elements import PlainType
from lowbitc.compiler.frontend.types import more_certain, type_proto, value_type
from lowbitc.compiler.ir.types import TensorType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import OperatorSetIdProto, TensorProto, TypeProto

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.frontend.schema import Schema
    from lowbitc.compiler.ir.types import ValueType

_TELLING_SIZE = 4096
"""Constants of up to so many elements may be shapes, axes or scales, so inference sees them."""
_TELLING_RANK = 1
_UNKNOWN = TensorType(None, PlainType("undefined"))


def _types() -> dict[str, ValueType]:
    return {}


def _constants() -> dict[str, Array]:
    return {}


def _protos() -> dict[str, TypeProto]:
    return {}


def _data() -> dict[str, TensorProto]:
    return {}


@dataclass(frozen=True, slots=True)
class KnownValues:
    """Types and constants by name, filled from the inputs to the outputs.

    ``stated`` are the types that the model itself writes down, used where inference knows less.
    """

    versions: Mapping[str, int]
    stated: Mapping[str, ValueType]
    types: dict[str, ValueType] = field(default_factory=_types)
    constants: dict[str, Array] = field(default_factory=_constants)
    _protos: dict[str, TypeProto] = field(default_factory=_protos)
    _data: dict[str, TensorProto] = field(default_factory=_data)

    def tensor(self, value: str) -> TensorType:
        """Return the type of a value; unknown rank where nothing is known."""
        found = self.types.get(value)
        return found if isinstance(found, TensorType) else _UNKNOWN

    def constant(self, value: str) -> Array | None:
        """Return the elements of a constant, else None."""
        return self.constants.get(value)

    def add_constant(self, value: str, elements: Array, element: PlainType) -> None:
        """Keep a constant."""
        self.constants[value] = elements
        self.types[value] = TensorType(elements.shape, element)

    def infer(self, node: NodeProto, schema: Schema | None, captures: tuple[str, ...]) -> None:
        """Find the types of a node's outputs from those of its inputs.

        Raises onnx.shape_inference.InferenceError where the inputs do not fit the operator.
        """
        found: dict[str, TypeProto] = {}
        if schema is not None and schema.op.has_type_and_shape_inference_function:
            reads = {value for value in (*node.input, *captures) if value}
            found = shape_inference.infer_node_outputs(
                schema.op,
                _with_sorted_axes(node) if node.op_type == "Squeeze" else node,
                {value: self._proto(value) for value in reads},
                {value: data for value in node.input if (data := self._telling(value))},
                opset_imports=self._opsets(),
            )
        for value in node.output:
            if value:
                inferred = value_type(found[value], {}) if value in found else None
                self.types[value] = more_certain(inferred, self.stated.get(value)) or _UNKNOWN

    def _opsets(self) -> list[OperatorSetIdProto]:
        return [helper.make_opsetid(domain, version) for domain, version in self.versions.items()]

    def _proto(self, value: str) -> TypeProto:
        found = self._protos.get(value)
        if found is None:
            found = self._protos[value] = type_proto(self.types.get(value, _UNKNOWN))
        return found

    def _telling(self, value: str) -> TensorProto | None:
        """Return a constant that a shape may depend on."""
        if value in self._data:
            return self._data[value]
        found = self.constants.get(value)
        if found is None or found.ndim > _TELLING_RANK or found.size > _TELLING_SIZE:
            return None
        if not np.issubdtype(found.dtype, np.integer) and found.size > 16:  # noqa: PLR2004 - scales
            return None
        self._data[value] = numpy_helper.from_array(found, value)
        return self._data[value]


def _with_sorted_axes(node: NodeProto) -> NodeProto:
    """Sort the axes of a Squeeze: inference before opset 11 drops wrong ones otherwise."""
    copy = NodeProto()
    copy.CopyFrom(node)
    for held in copy.attribute:
        held.ints.sort()
    return copy
