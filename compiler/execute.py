"""Run float graphs on the CPU, through ONNX Runtime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, InternalError, error, raise_errors
from lowbitc.compiler.elements import PlainType
from lowbitc.compiler.export.levels import float_constants
from lowbitc.compiler.export.model import assemble_graph
from lowbitc.compiler.export.samples import samples_stay_apart
from lowbitc.compiler.export.save import save_assembled
from lowbitc.compiler.ir.quantized import DEVICE_OPS, Dequantize, Quantize
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.onnx_session import OnnxSession, Value
from lowbitc.compiler.onnx_types import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph

__all__ = ["FloatSession", "Value"]

_ONE_FILE_BYTES = 1_900_000_000
"""Protobuf holds 2 GiB; the rest of the model needs room too."""


class FloatSession:
    """A float graph that is ready to run; weights that are levels count as their values."""

    def __init__(
        self, graph: Graph, fetch: Sequence[str] = (), *, threads: int = 0, fast: bool = False
    ) -> None:
        """Load a graph, with the values of ``fetch`` as further outputs.

        ``threads`` of 0 takes all cores; ``fast`` lets ONNX Runtime fuse operators, which changes
        results by rounding. Raises CompileError LB191 where ONNX Runtime refuses the graph, and
        InternalError for integer operators and for values that the graph has not.
        """
        _check_float(graph)
        known = {*graph.inputs, *graph.constants, *graph.producers()}
        if unknown := sorted(set(fetch) - known):
            message = f"{graph.name} has no values {unknown} to fetch"
            raise InternalError(message)
        self.graph = graph
        self.outputs = tuple(dict.fromkeys((*graph.outputs, *fetch)))
        # What no node makes is handed out from here, not by ONNX Runtime.
        made = set(graph.producers())
        self._constants = float_constants(graph, (v for v in self.outputs if v in graph.constants))
        self._computed = tuple(v for v in self.outputs if v in made)
        self._at_once = samples_stay_apart(graph, graph.nodes, graph.inputs)
        self._session = self._load(threads, fast=fast) if self._computed else None

    def _load(self, threads: int, *, fast: bool) -> OnnxSession:
        graph = self.graph.replace(outputs=self._computed)
        assembled = assemble_graph(graph)
        if assembled.constants_bytes <= _ONE_FILE_BYTES:
            model = assembled.whole().SerializeToString()
            return OnnxSession(model, threads=threads, fast=fast)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path, _ = save_assembled(assembled, Path(folder) / "graph.onnx")
            return OnnxSession(path, threads=threads, fast=fast)

    def run(self, feeds: Mapping[str, Value]) -> dict[str, Value]:
        """Return outputs and fetched values by name.

        n samples are joined along axis 0 of every input, and so are those of every output; a
        scalar of each sample becomes a vector. They run at once where nothing mixes them, else one
        by one. Raises CompileError LB193 where the arrays do not fit the inputs, LB192 where ONNX
        Runtime fails on them.
        """
        count = _count_samples(self.graph, feeds)
        if count == 1 or self._at_once:
            return self._run_once(feeds)
        runs = [self._run_once(feed) for feed in _one_by_one(self.graph, feeds, count)]
        return {value: _joined(value, [run[value] for run in runs]) for value in self.outputs}

    def arrays(self, feeds: Mapping[str, Value]) -> dict[str, Array]:
        """Do as ``run`` does, for graphs all of whose outputs are tensors.

        Raises CompileError LB192 where one is a sequence, a map or absent.
        """
        found = self.run(feeds)
        arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
        others = [name for name in found if name not in arrays]
        raise_errors(error("LB192", f"the output {name} is no tensor") for name in others)
        return arrays

    def _run_once(self, feeds: Mapping[str, Value]) -> dict[str, Value]:
        found: dict[str, Value] = {**self._constants}
        found.update((value, feeds[value]) for value in self.outputs if value in self.graph.inputs)
        if self._session is not None:
            found.update(self._session.run(feeds, self._computed))
        return {value: found[value] for value in self.outputs}


def _check_float(graph: Graph) -> None:
    for node in graph.nodes:
        if isinstance(node, (*DEVICE_OPS, Quantize, Dequantize)):
            message = (
                f"{graph.name} is {graph.stage.value}: {node.op} {node.name} computes with "
                "integers, which only an engine runs"
            )
            raise InternalError(message)


def _count_samples(graph: Graph, feeds: Mapping[str, Value]) -> int:
    """Return how many samples the arrays hold; raise LB193 with all that is wrong with them."""
    found: list[Diagnostic] = []
    counts: dict[str, int] = {}
    for name in graph.inputs:
        held = graph.types.get(name)
        if name not in feeds:
            found.append(
                error(
                    "LB193",
                    f"there is no array for the input {name}",
                    found=", ".join(sorted(feeds)),
                )
            )
        elif isinstance(held, TensorType) and isinstance(array := feeds[name], np.ndarray):
            found += _mismatches(name, held, array)
            if held.known and held.dims and held.dims[0] and array.ndim:
                counts[name] = array.shape[0] // held.dims[0]
    if len(set(counts.values())) > 1:
        found.append(
            error(
                "LB193",
                "the inputs have different numbers of samples",
                found=", ".join(f"{name}: {count}" for name, count in counts.items()),
            )
        )
    raise_errors(found)
    return max(counts.values(), default=1)


def _mismatches(name: str, held: TensorType, array: Array) -> Iterator[Diagnostic]:
    wanted = numpy_dtype(held.element)
    if isinstance(held.element, PlainType) and array.dtype != wanted and wanted != np.dtype(object):
        yield error(
            "LB193",
            f"the array for {name} has another element type than the input",
            found=str(array.dtype),
            allowed=str(wanted),
        )
    if not held.known:
        return
    rows = held.dims[:1]
    fits = array.shape == held.dims or (
        len(rows) == 1
        and array.ndim == len(held.dims)
        and array.shape[1:] == held.dims[1:]
        and rows[0] > 0
        and array.shape[0] > 0
        and array.shape[0] % rows[0] == 0
    )
    if not fits:
        yield error(
            "LB193",
            f"the array for {name} has another shape than the input",
            found=str(list(array.shape)),
            allowed=f"{list(held.dims)}, or more samples along the first axis",
        )


def _one_by_one(
    graph: Graph, feeds: Mapping[str, Value], count: int
) -> Iterator[Mapping[str, Value]]:
    for index in range(count):
        sample: dict[str, Value] = {}
        for name in graph.inputs:
            array, held = feeds[name], graph.tensor(name)
            if isinstance(array, np.ndarray) and held.known and held.dims:
                rows = held.dims[0]
                array = array[index * rows : (index + 1) * rows]
            sample[name] = array
        yield sample


def _joined(name: str, parts: Sequence[Value]) -> Value:
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) < len(parts):
        return list(parts)
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        message = f"{name} has another shape for each sample, so samples cannot be joined"
        raise CompileError([error("LB192", message, found=str(sorted(shapes)))])
    return np.concatenate([np.reshape(array, -1) if not array.ndim else array for array in arrays])
