"""Constants of a model: initializers, and Constant nodes in all their forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import AttributeProto, NodeProto, SparseTensorProto, TensorProto, numpy_helper

from lowbitc.compiler.diagnostics import Diagnostic, error

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.frontend.external import ExternalFiles

_PAIRS = 2


def read_tensor(tensor: TensorProto, files: ExternalFiles) -> Array | Diagnostic:
    """Return the elements of a tensor; a finding where its bytes do not fit its shape."""
    if tensor.data_location == TensorProto.EXTERNAL:
        return files.load(tensor)
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as reason:
        kind = tensor.data_type
        if kind in TensorProto.DataType.values():
            return error(
                "LB120",
                f"{tensor.name or 'a tensor'}: its data does not fit its shape: {reason}",
                found=f"{len(tensor.raw_data):,} bytes of raw data",
                allowed=f"{list(tensor.dims)} {TensorProto.DataType.Name(kind).lower()}",
                hint="export the model again",
            )
        return error("LB120", f"{tensor.name or 'a tensor'} has the unknown element type {kind}")


def read_sparse(tensor: SparseTensorProto, files: ExternalFiles) -> Array | Diagnostic:
    """Return a sparse tensor's elements, dense."""
    values = read_tensor(tensor.values, files)
    places = read_tensor(tensor.indices, files)
    if isinstance(values, Diagnostic):
        return values
    if isinstance(places, Diagnostic):
        return places
    dense = np.zeros(tuple(tensor.dims), values.dtype)
    wanted = np.asarray(places, np.int64)
    try:
        if wanted.ndim == _PAIRS:
            dense[tuple(wanted.T)] = values
        else:
            dense.reshape(-1)[wanted] = values
    except (IndexError, ValueError) as reason:
        return error("LB120", f"{tensor.values.name or 'a sparse tensor'}: {reason}")
    return dense


def read_constant_node(node: NodeProto, files: ExternalFiles) -> Array | Diagnostic:
    """Return the value of a Constant node, whichever of its attributes holds it."""
    for held in node.attribute:
        found = _value_of(held, files)
        if found is not None:
            return found
    return error("LB118", f"{node.name}: a Constant without a value")


def _value_of(held: AttributeProto, files: ExternalFiles) -> Array | Diagnostic | None:
    value: Array | Diagnostic | None = None
    if held.name == "value":
        value = read_tensor(held.t, files)
    elif held.name == "sparse_value":
        value = read_sparse(held.sparse_tensor, files)
    elif held.name == "value_float":
        value = np.asarray(held.f, np.float32)
    elif held.name == "value_floats":
        value = np.asarray(held.floats, np.float32)
    elif held.name == "value_int":
        value = np.asarray(held.i, np.int64)
    elif held.name == "value_ints":
        value = np.asarray(held.ints, np.int64)
    elif held.name == "value_string":
        value = np.asarray(held.s.decode("utf-8", "replace"), object)
    elif held.name == "value_strings":
        value = np.asarray([s.decode("utf-8", "replace") for s in held.strings], object)
    return value
