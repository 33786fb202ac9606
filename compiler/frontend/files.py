"""Read the model file, and say what it is when it is not ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from onnx import ModelProto

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error
from lowbitc.compiler.onnx_subgraphs import subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from onnx import GraphProto, NodeProto

_GIT_LFS = b"version https://git-lfs"
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (_GIT_LFS, "a Git LFS pointer", "run `git lfs pull` to get the model itself"),
    (b"PK\x03\x04", "a zip archive", "unpack it, or export the PyTorch file to ONNX first"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"\x89HDF", "an HDF5 file (Keras)", "export it to ONNX with tf2onnx first"),
    (b"\x80\x02", "a pickle (PyTorch)", "export it with torch.onnx.export first"),
    (b"ORTM", "a model in ONNX Runtime's own format", "name the .onnx file that it was made of"),
    (b"LBC", "a lowbitc program", "name the ONNX model; programs are for `lowbitc simulate`"),
)
_TFLITE = b"TFL3"
_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
_AGAIN = "copy or download it again, as binary, and compare its size"
_EXPORT = "export the network to ONNX, for example with torch.onnx.export"


def read_model(path: Path) -> ModelProto:
    """Parse an ONNX file; external tensors are left where they are.

    Raises CompileError when the file cannot be read, is no ONNX model, or is damaged.
    """
    try:
        content = path.read_bytes()
    except IsADirectoryError:
        inside = sorted(p.name for p in path.glob("*.onnx"))
        hint = f"name the file, for example {path / inside[0]}" if inside else "name a .onnx file"
        raise CompileError(
            [error("LB101", f"{path} is a folder, not a model", hint=hint)]
        ) from None
    except OSError as reason:
        message = f"{path} cannot be read: {reason.strerror or reason}"
        raise CompileError([error("LB101", message, hint="check the path")]) from None
    return parse_model(content, str(path))


def parse_model(content: bytes, name: str) -> ModelProto:
    """Parse the bytes of an ONNX file called ``name``."""
    if found := _other_kind(content):
        what, hint = found
        raise CompileError([error("LB102", f"{name} is not an ONNX model", found=what, hint=hint)])
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise CompileError([_damaged(content, name)]) from None
    if not model.HasField("graph"):
        message = f"{name} is not an ONNX model: it has no graph"
        raise CompileError([error("LB102", message, found=_size(content), hint=_EXPORT)])
    if any(isinstance(text, bytes) for text in _names(model)):
        message = f"{name} is damaged: a name in it is no UTF-8 text"
        raise CompileError([error("LB103", message, hint=_AGAIN)])
    return model


def _names(model: ModelProto) -> Iterator[object]:
    """Yield the names in a model; protobuf gives bytes for those that are no text."""
    yield from (one.domain for one in model.opset_import)
    yield from _graph_names(model.graph)
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output)
        yield from (one.domain for one in function.opset_import)
        yield from _node_names(function.node)


def _graph_names(graph: GraphProto) -> Iterator[object]:
    yield graph.name
    for info in (*graph.input, *graph.output, *graph.value_info):
        yield info.name
        yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    yield from (sparse.values.name for sparse in graph.sparse_initializer)
    yield from _node_names(graph.node)


def _node_names(nodes: Iterable[NodeProto]) -> Iterator[object]:
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (text for held in node.attribute for text in (held.name, held.ref_attr_name))
        for inner in subgraphs(node):
            yield from _graph_names(inner)


def _size(content: bytes) -> str:
    return f"{len(content):,} bytes"


def _other_kind(content: bytes) -> tuple[str, str] | None:
    """Say what a file is and what to do, when its first bytes tell that it is not ONNX."""
    if not content:
        return "an empty file", "download or export the model again"
    for magic, kind, hint in _KINDS:
        if content.startswith(magic):
            return kind, hint
    if content[4:8] == _TFLITE:
        return "a TensorFlow Lite model", "convert it with tf2onnx first"
    start = content[:512]
    if not all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in start):  # noqa: PLR2004 - ASCII
        return None
    page = start.lstrip().startswith(b"<")
    kind = "a web page (HTML or XML)" if page else "plain text"
    return kind, "download the file itself, not the page about it" if page else _EXPORT


def _damaged(content: bytes, name: str) -> Diagnostic:
    """Tell a file that was cut short from one that never was a protobuf message."""
    for number, start, end in _fields(content):
        if end > len(content):
            return error(
                "LB103",
                f"{name} is cut short: field {number} of the model needs "
                f"{end - start:,} bytes, {len(content) - start:,} are there",
                found=_size(content),
                allowed=f"at least {end:,} bytes",
                hint=_AGAIN,
            )
        if number == 0:
            break
    if content[0] == 1 << 3:  # field 1, ir_version, comes first in every file that onnx writes
        return error("LB103", f"{name} is damaged: not a whole protobuf message", hint=_AGAIN)
    return error("LB102", f"{name} is not an ONNX model", found="unknown binary data", hint=_EXPORT)


def _fields(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of the outermost fields; number 0 where they make no sense."""
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        kind, start = key & 7, place
        if kind == _VARINT:
            _, place = _varint(content, place)
        elif kind == _LENGTH:
            length, start = _varint(content, place)
            place = start + length
        elif kind in {_FIXED_64, _FIXED_32}:
            place += 8 if kind == _FIXED_64 else 4
        else:
            yield 0, start, start
            return
        yield key >> 3, start, place


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(content):
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:  # noqa: PLR2004 - the top bit says that more bytes follow
            break
    return value, place
