"""Write a graph of any size to files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from lowbitc.compiler.export.model import assemble_graph
from lowbitc.compiler.export.writer import tensor_proto

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph

_SMALL_BYTES = 1024
"""Constants up to this size stay in the model: shapes must, for readers that infer from them."""
_ALIGNMENT = 4096
"""Lets a reader map a constant into memory."""


def export_model_to_files(
    graph: Graph, path: Path, *, fetch: Sequence[str] = (), opset: int | None = None
) -> tuple[Path, Path]:
    """Write ``path`` and, beside it, ``path`` + ".data" with the large constants.

    Returns both paths. This is the way for graphs of more than 2 GiB, which one file cannot hold.
    """
    assembled = assemble_graph(graph, fetch=fetch, opset=opset)
    model = assembled.model
    data = path.with_name(f"{path.name}.data")
    with data.open("wb") as file:
        for name, array in assembled.constants.items():
            if array.nbytes <= _SMALL_BYTES or array.dtype == object:
                model.graph.initializer.append(tensor_proto(name, array))
                continue
            head = tensor_proto(name, array.reshape(-1)[:0])
            proto = TensorProto(name=name, data_type=head.data_type, dims=array.shape)
            file.write(bytes(-file.tell() % _ALIGNMENT))
            proto.data_location = TensorProto.EXTERNAL
            raw = _raw(array)
            for key, value in (
                ("location", data.name),
                ("offset", str(file.tell())),
                ("length", str(len(raw))),
            ):
                proto.external_data.add(key=key, value=value)
            file.write(raw)
            model.graph.initializer.append(proto)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path, data


def _raw(array: Array) -> bytes:
    """Return little-endian bytes; types below eight bits are packed as ONNX packs them."""
    proto = tensor_proto("", array)
    return bytes(proto.raw_data)
