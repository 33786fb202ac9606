"""Write a graph of any size to files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from lowbitc.compiler.export.model import assemble_graph
from lowbitc.compiler.export.writer import tensor_proto

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.compiler.export.piece import Assembled
    from lowbitc.compiler.ir.graph import Graph

_SMALL_BYTES = 1024
"""Constants up to this size stay in the model: shapes must, for readers that infer from them."""
_ALIGNMENT = 4096
"""Lets a reader map a constant into memory."""


def export_model_to_files(
    graph: Graph, path: Path, *, opset: int | None = None
) -> tuple[Path, Path]:
    """Write ``path`` and, beside it, ``path`` + ".data" with the large constants.

    Returns both paths. This is the way for graphs of more than 2 GiB, which one file cannot hold.
    """
    return save_assembled(assemble_graph(graph, opset=opset), path)


def save_assembled(assembled: Assembled, path: Path) -> tuple[Path, Path]:
    """Write a model to ``path`` and its large constants to ``path`` + ".data"."""
    model = assembled.model
    data = path.with_name(f"{path.name}.data")
    with data.open("wb") as file:
        for name, array in assembled.constants.items():
            proto = tensor_proto(name, array)
            if len(proto.raw_data) > _SMALL_BYTES:
                file.write(bytes(-file.tell() % _ALIGNMENT))
                place = {"location": data.name, "offset": file.tell()}
                place["length"] = file.write(proto.raw_data)
                proto.ClearField("raw_data")
                proto.data_location = TensorProto.EXTERNAL
                for key, value in place.items():
                    proto.external_data.add(key=key, value=str(value))
            model.graph.initializer.append(proto)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path, data
