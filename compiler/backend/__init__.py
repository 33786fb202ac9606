"""lowbitc as an ONNX backend: through the front end to the float IR, and out to ONNX Runtime.

Nothing is quantized here. It is how ONNX's own backend tests hold the importer and the exporter to
ONNX's definitions of its operators::

    import lowbitc.compiler.backend as backend
    outputs = backend.run_model(model, [x])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from onnx import ValueInfoProto, helper, version_converter
from onnx.backend.base import Backend, BackendRep

from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.export.opsets import OLDEST_OPSET, ir_version, is_onnx
from lowbitc.compiler.frontend.importer import import_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto, NodeProto

    from lowbitc.compiler.onnx_session import Value

    Inputs: TypeAlias = "Value | Sequence[Value] | Mapping[str, Value]"

_NODE_OPSET = 21
"""Nodes without a model are read at this operator set: every ONNX Runtime from 1.18 on runs it."""


class PreparedModel(BackendRep):
    """A model that runs on arrays; free dimensions of its inputs get the sizes of the arrays."""

    def __init__(self, model: ModelProto, *, threads: int = 0) -> None:
        """Import a model; where a dimension is free, the first run does it."""
        self._model = model
        self._threads = threads
        stored = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [value for value in model.graph.input if value.name not in stored]
        self._sessions: dict[object, FloatSession] = {}
        if not any(_is_free(value) for value in self._inputs):
            self._session({})

    def _session(self, shapes: dict[str, tuple[int, ...]]) -> FloatSession:
        key = tuple(sorted(shapes.items()))
        if key not in self._sessions:
            graph = import_model(self._model, shapes=shapes).graph
            self._sessions[key] = FloatSession(graph, threads=self._threads)
        return self._sessions[key]

    def run(self, inputs: Inputs, **_options: object) -> tuple[Value, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the outputs in the model's order, for inputs by name or in the model's order."""
        if isinstance(inputs, dict):
            feeds = {str(name): _as_value(value) for name, value in inputs.items()}
        else:
            given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
            names = [value.name for value in self._inputs]
            feeds = {n: _as_value(value) for n, value in zip(names, given, strict=False)}
        free = {value.name for value in self._inputs if _is_free(value)}
        shapes = {n: a.shape for n, a in feeds.items() if n in free and isinstance(a, np.ndarray)}
        session = self._session(shapes)
        found = session.run(feeds)
        return tuple(found[name] for name in session.graph.outputs)


def _is_free(value: ValueInfoProto) -> bool:
    """Say whether a tensor has a dimension without a size."""
    held = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return False
    # A size of 0 is how some exporters spell a free dimension.
    return not held.HasField("shape") or any(not d.dim_value for d in held.shape.dim)


class LowbitcBackend(Backend):
    """Runs models and nodes on the CPU, as lowbitc reads them."""

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> PreparedModel:  # noqa: ANN401 - as onnx has it
        """Import a model; onnx converts those of opsets that lowbitc does not read.

        Raises CompileError with everything that lowbitc refuses in it.
        """
        if not cls.supports_device(device):
            message = f"lowbitc runs on the CPU, not on {device}"
            raise ValueError(message)
        versions = [one.version for one in model.opset_import if is_onnx(one.domain)]
        if any(version < OLDEST_OPSET for version in versions):
            model = version_converter.convert_version(model, OLDEST_OPSET)
        return PreparedModel(model, threads=int(kwargs.get("threads", 0)))

    @classmethod
    def run_node(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        node: NodeProto,
        inputs: Sequence[Value],
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[np.generic], tuple[int, ...]]] | None = None,
        **kwargs: Any,  # noqa: ANN401 - as onnx has it
    ) -> tuple[Value, ...]:
        """Run one node; outputs get their types by inference where ``outputs_info`` is None."""
        arrays = [np.asarray(value) for value in inputs]
        names = [name for name in node.input if name]
        opset = int(kwargs.get("opset_version", _NODE_OPSET))
        values = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for name, a in zip(names, arrays, strict=True)
        ]
        results = [ValueInfoProto(name=name) for name in node.output if name]
        if outputs_info is not None:
            results = [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)
                for name, (dtype, shape) in zip(node.output, outputs_info, strict=True)
            ]
        model = helper.make_model(
            helper.make_graph([node], "node", values, results),
            opset_imports=[helper.make_opsetid(domain, opset) for domain in {"", node.domain}],
            ir_version=ir_version({"": opset}),
        )
        return cls.prepare(model, device, **kwargs).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Say whether lowbitc runs on a device: on the CPU only."""
        return device.split(":", maxsplit=1)[0] == "CPU"


def _as_value(value: Any) -> Value:  # noqa: ANN401 - what users of backends pass
    return np.asarray(value) if isinstance(value, (np.generic, int, float, bool)) else value


is_compatible = LowbitcBackend.is_compatible
prepare = LowbitcBackend.prepare
run_model = LowbitcBackend.run_model
run_node = LowbitcBackend.run_node
supports_device = LowbitcBackend.supports_device
