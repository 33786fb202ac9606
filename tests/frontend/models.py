"""Small ONNX models for the importer's tests, and what they should give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, defs, helper, numpy_helper

from lowbitc.compiler.codes import CATALOGUE
from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.ir.verify import verify
from lowbitc.compiler.onnx_session import OnnxSession
from lowbitc.compiler.onnx_types import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.frontend import Imported
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.ops import HostOp

NEWEST = defs.onnx_opset_version()
OPSETS = tuple(range(7, NEWEST + 1))
Dims = tuple[int | str | None, ...]


def info(name: str, *dims: int | str | None, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    """Describe a tensor."""
    return helper.make_tensor_value_info(name, kind, dims)


def node(op_type: str, inputs: str, outputs: str = "y", name: str = "n", **held: Any) -> NodeProto:  # noqa: ANN401 - attributes of any kind
    """Make a node; values are separated by spaces, and "-" leaves one out."""
    read = ["" if value == "-" else value for value in inputs.split()]
    return helper.make_node(op_type, read, outputs.split(), name=name, **held)


def model(
    nodes: Sequence[NodeProto],
    *,
    inputs: Sequence[ValueInfoProto] = (),
    outputs: Sequence[str] = ("y",),
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
    **parts: Any,  # noqa: ANN401 - what make_model takes
) -> ModelProto:
    """Assemble a model; inputs are x [1, 4, 6, 6] where none are given."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        list(inputs or [info("x", 1, 4, 6, 6)]),
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(held, name) for name, held in (constants or {}).items()],
    )
    domains = {one.domain for one in nodes} - {""}
    imports = [
        helper.make_opsetid("", opset),
        *(helper.make_opsetid(d, 1) for d in sorted(domains)),
    ]
    return helper.make_model(graph, opset_imports=imports, **{"ir_version": 8, **parts})


def one_node(imported: Imported) -> Node:
    """Return the only node of a graph, which must verify."""
    assert not list(verify(imported.graph))
    (found,) = imported.graph.nodes
    return found


def read(proto: ModelProto) -> Node:
    """Import a model of one node."""
    return one_node(import_model(proto))


def host(proto: ModelProto) -> tuple[HostOp, str]:
    """Import a model that comes to one host operator; return it, and why it is one."""
    imported = import_model(proto)
    found = one_node(imported)
    assert found.op == "HostOp"
    return found, imported.graph.host_reasons[found.name]  # type: ignore[return-value]


def refusal(source: ModelProto | Path, **options: Any) -> dict[str, Diagnostic]:  # noqa: ANN401
    """Import what must be refused; return the errors by code, of which each is explained."""
    with pytest.raises(CompileError) as caught:
        import_model(source, **options)
    found = {d.code: d for d in caught.value.diagnostics if d.severity.value == "error"}
    assert set(found) <= set(CATALOGUE)
    return found


def noticed(imported: Imported) -> dict[str, Diagnostic]:
    """Return warnings and notes by code."""
    assert {d.code for d in imported.diagnostics} <= set(CATALOGUE)
    return {d.code: d for d in imported.diagnostics}


def assert_same_numbers(proto: ModelProto) -> Imported:
    """Run a model as it is and as it was imported, on random inputs; both must agree."""
    imported = import_model(proto)
    assert not list(verify(imported.graph))
    random = np.random.default_rng(1)
    feeds: dict[str, Array] = {}
    for name in imported.graph.inputs:
        held = imported.graph.tensor(name)
        dtype = numpy_dtype(held.element)
        feeds[name] = np.asarray(random.normal(size=held.dims) * 3, dtype)
    wanted = OnnxSession(proto.SerializeToString(), threads=1).run(feeds)
    found = FloatSession(imported.graph, threads=1).run(feeds)
    for name in imported.graph.outputs:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6)  # type: ignore[arg-type]
        assert imported.graph.shape(name) == np.shape(wanted[name])  # type: ignore[arg-type]
    return imported
