"""A typed door to ONNX Runtime, with its failures as coded diagnostics."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.onnx_values import foreign_number, from_ort_value, to_ort_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.elements import Array

# Sequences are lists, maps are dictionaries, an optional that is absent is None.
Value: TypeAlias = "Array | list[Value] | dict[str | int, Value] | None"

_ERROR_ONLY = 3
# ONNX Runtime ships no types.
onnxruntime: Any = importlib.import_module("onnxruntime")
state: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
_FAILURES = cast(
    "tuple[type[Exception], ...]",
    (
        *(
            getattr(state, name)
            for name in (
                *("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "EPFail"),
                *("NoModel", "NoSuchFile", "NotImplemented", "RuntimeException", "EngineError"),
            )
        ),
        # The Python side of ONNX Runtime raises these for arrays that it cannot convert.
        RuntimeError,
        TypeError,
        ValueError,
    ),
)


class OnnxSession:
    """A model that ONNX Runtime has loaded; it may be run any number of times."""

    def __init__(self, model: bytes | Path, *, threads: int = 0, fast: bool = False) -> None:
        """Load a model from its bytes or from a file, on ``threads`` threads (0: all cores).

        Every operator runs as it is written unless ``fast`` lets ONNX Runtime fuse and reorder,
        which changes float results by rounding. Raises CompileError LB191.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERROR_ONLY
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if fast else levels.ORT_DISABLE_ALL
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session: Any = onnxruntime.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        except _FAILURES as failure:
            found = _refusal("LB191", "ONNX Runtime cannot load the graph", failure)
            raise CompileError([found]) from failure
        borders = self._session.get_inputs(), self._session.get_outputs()
        self.inputs: tuple[str, ...] = tuple(v.name for v in borders[0])
        self.outputs: tuple[str, ...] = tuple(v.name for v in borders[1])
        # By name, those of types that numpy lacks; most models have none.
        self._foreign: dict[str, int] = {
            v.name: number for side in borders for v in side if (number := foreign_number(v.type))
        }

    def run(self, feeds: Mapping[str, Value], fetch: Sequence[str] = ()) -> dict[str, Value]:
        """Return the values of ``fetch``, or all outputs, by name.

        Raises CompileError LB192.
        """
        wanted = tuple(fetch) or self.outputs
        used = {name: feeds[name] for name in self.inputs if name in feeds}
        try:
            found = self._run_foreign(wanted, used) if self._foreign else self._plain(wanted, used)
        except _FAILURES as failure:
            broken = _refusal("LB192", "ONNX Runtime failed while it ran the graph", failure)
            raise CompileError([broken]) from failure
        return dict(zip(wanted, found, strict=True))

    def _plain(self, wanted: Sequence[str], feeds: Mapping[str, Value]) -> list[Value]:
        found: list[Value] = self._session.run(list(wanted), dict(feeds))
        return found

    def _run_foreign(self, wanted: Sequence[str], feeds: Mapping[str, Value]) -> list[Value]:
        made = {
            name: to_ort_value(np.asarray(value), self._foreign.get(name, 0), onnxruntime.OrtValue)
            for name, value in feeds.items()
        }
        found = self._session.run_with_ort_values(list(wanted), made)
        pairs = zip(wanted, found, strict=True)
        return [from_ort_value(held, self._foreign.get(name, 0)) for name, held in pairs]


def _refusal(code: str, message: str, failure: Exception) -> Diagnostic:
    said = " ".join(str(failure).split())
    return error(code, f"{message}: {said}", found=f"onnxruntime {onnxruntime.__version__}")
