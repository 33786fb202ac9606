"""Tensors whose bytes are in other files: checked, then mapped, never read as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, numpy_helper

from lowbitc.compiler.diagnostics import Diagnostic, error
from lowbitc.compiler.onnx_types import numpy_dtype, plain_type

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array

_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
_BESIDE = "keep the files that the exporter wrote together in one folder"


@dataclass(frozen=True, slots=True)
class FileRange:
    """Where in which file the bytes of a tensor are."""

    path: Path
    offset_bytes: int
    size_bytes: int


def _maps() -> dict[Path, np.ndarray[tuple[int], np.dtype[np.uint8]]]:
    return {}


def _ranges() -> dict[str, FileRange]:
    return {}


@dataclass(frozen=True, slots=True)
class ExternalFiles:
    """The files beside a model; ``folder`` is None for a model that came without a path.

    A file is mapped once, so that a thousand tensors do not hold a thousand file handles.
    """

    folder: Path | None
    maps: dict[Path, np.ndarray[tuple[int], np.dtype[np.uint8]]] = field(default_factory=_maps)
    ranges: dict[str, FileRange] = field(default_factory=_ranges)

    def load(self, tensor: TensorProto) -> Array | Diagnostic:
        """Map a tensor's bytes from its file, or say why not."""
        place = self._locate(tensor)
        if isinstance(place, Diagnostic):
            return place
        element = TensorProto.DataType.Name(tensor.data_type)
        dims = tuple(tensor.dims)
        if place.size_bytes == 0:
            return np.empty(dims, numpy_dtype(plain_type(tensor.data_type)))
        if place.path not in self.maps:
            self.maps[place.path] = np.asarray(np.memmap(place.path, np.uint8, "r"))
        window = self.maps[place.path][place.offset_bytes : place.offset_bytes + place.size_bytes]
        if element in _BITS:
            copy = TensorProto(data_type=tensor.data_type, dims=dims, raw_data=window.tobytes())
            return numpy_helper.to_array(copy)
        self.ranges[tensor.name] = place
        return window.view(numpy_dtype(plain_type(tensor.data_type))).reshape(dims)

    def _locate(self, tensor: TensorProto) -> FileRange | Diagnostic:
        """Check location, offset and length against the folder and the file."""
        stated = {entry.key: entry.value for entry in tensor.external_data}
        location = stated.get("location", "")
        path = self._inside(tensor.name, location)
        if isinstance(path, Diagnostic):
            return path
        if tensor.data_type in {TensorProto.UNDEFINED, TensorProto.STRING}:
            kind = TensorProto.DataType.Name(tensor.data_type)
            return error("LB120", f"{tensor.name}: external tensors of type {kind} do not exist")
        element = TensorProto.DataType.Name(tensor.data_type)
        bits = _BITS.get(element) or 8 * numpy_dtype(plain_type(tensor.data_type)).itemsize
        needed = -(-math.prod(tensor.dims) * bits // 8)
        try:
            offset = int(stated.get("offset", "0"))
            length = int(stated.get("length", str(needed)))
        except ValueError:
            offset = length = -1
        there = path.stat().st_size
        if length != needed or offset < 0 or min(tensor.dims, default=0) < 0:
            return error(
                "LB114",
                f"{tensor.name}: its external data has another length than its shape",
                found=f"offset {stated.get('offset', '0')}, length {stated.get('length', 'none')}",
                allowed=f"{needed:,} bytes for {list(tensor.dims)} {element.lower()}",
                hint="export the model again",
            )
        if offset + needed > there:
            return error(
                "LB114",
                f"{tensor.name}: {location} is too short for its external data",
                found=f"{there:,} bytes",
                allowed=f"at least {offset + needed:,} bytes",
                hint="copy the file again; it may have been cut short",
            )
        return FileRange(path, offset, needed)

    def _inside(self, name: str, location: str) -> Path | Diagnostic:
        """Return the file of a location that does not lead out of the model's folder."""
        if self.folder is None:
            return error(
                "LB113",
                f"{name}: its data is in another file, {location!r}, and the model has no path",
                hint="import the model by its path, or load it with its external data",
            )
        folder = self.folder.resolve()
        outside = error(
            "LB112",
            f"{name}: its external data is outside the model's folder",
            found=location,
            allowed=f"a relative path inside {folder}, through no link that leads out of it",
            hint=_BESIDE,
        )
        if not location or "\0" in location or Path(location).is_absolute():
            return outside
        path = (folder / location).resolve()
        if not path.is_relative_to(folder):
            return outside
        if not path.is_file():
            return error(
                "LB113",
                f"{name}: the file with its external data is not there",
                found=location,
                allowed=f"a file in {folder}",
                hint=_BESIDE,
            )
        return path
