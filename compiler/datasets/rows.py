"""Arrays whose samples are read when they are wanted: in memory, in a file, or packed in one."""

from __future__ import annotations

import math
import struct
import zipfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.compiler.elements import Array

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_BLOCK_BYTES = 1 << 16


class Rows(Protocol):
    """An array [n, sample…] that is read by ranges of samples."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, samples first."""
        ...

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        ...

    def read(self, start: int, stop: int) -> Array:
        """Return the samples from ``start`` up to ``stop``; there are so many."""
        ...


@dataclass(frozen=True, slots=True)
class HeldRows:
    """An array in memory."""

    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, samples first."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.array.dtype

    def read(self, start: int, stop: int) -> Array:
        """Return a view."""
        return self.array[start:stop]


@dataclass(frozen=True, slots=True)
class Reshaped:
    """Rows under another shape of a sample with as many elements."""

    rows: Rows
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type."""
        return self.rows.dtype

    def read(self, start: int, stop: int) -> Array:
        """Return the samples in the shape that is wanted."""
        return self.rows.read(start, stop).reshape(stop - start, *self.shape[1:])


@dataclass(frozen=True, slots=True)
class FileRows:
    """An array that stands in a file as it is in memory, from ``offset`` on.

    It is read and not mapped: pages of a map count as this process's memory as long as they stay.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def read(self, start: int, stop: int) -> Array:
        """Read the samples; raises EOFError where the file ends before."""
        size = self.dtype.itemsize * math.prod(self.shape[1:])
        with self.path.open("rb") as file:
            file.seek(self.offset + start * size)
            data = file.read((stop - start) * size)
        return _array(data, self.dtype, (stop - start, *self.shape[1:]))


@dataclass(slots=True)
class PackedRows:
    """A compressed member of a zip file, unpacked from its beginning on as samples are wanted.

    Ranges in ascending order unpack it once; one that lies before the last starts again.
    """

    path: Path
    member: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    _stream: IO[bytes] | None = field(default=None, repr=False)
    _next: int = 0

    def read(self, start: int, stop: int) -> Array:
        """Unpack the samples; raises EOFError where the member ends before."""
        size = self.dtype.itemsize * math.prod(self.shape[1:])
        if self._stream is None or start < self._next:
            self.close()
            with zipfile.ZipFile(self.path) as archive:
                # The member holds the archive's file open for as long as it is.
                self._stream = archive.open(self.member)
            self._skip(self.offset)
            self._next = 0
        self._skip((start - self._next) * size)
        data = self._stream.read((stop - start) * size)
        self._next = stop
        if stop >= self.shape[0]:
            self.close()
        return _array(data, self.dtype, (stop - start, *self.shape[1:]))

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __del__(self) -> None:
        """Leave no file open behind a data set that was read in part."""
        self.close()

    def __reduce__(self) -> tuple[type[PackedRows], tuple[object, ...]]:
        """Travel to another process without the open file."""
        return PackedRows, (self.path, self.member, self.offset, self.shape, self.dtype)

    def _skip(self, count: int) -> None:
        stream = self._stream
        while count and stream is not None:
            count -= len(stream.read(min(count, _BLOCK_BYTES))) or count


def file_rows(path: Path) -> Rows:
    """Return the array of an .npy file.

    Raises ValueError for pickled objects and for what is no .npy file.
    """
    with path.open("rb") as file:
        shape, columns_first, dtype = _header(file)
        offset = file.tell()
    if columns_first:
        return HeldRows(np.load(path, allow_pickle=False))
    return FileRows(path, offset, shape, dtype)


def archive_rows(path: Path, wanted: frozenset[str]) -> dict[str, Rows]:
    """Return the arrays of an .npz file that are wanted; the others as they would be if empty.

    Every wanted member is read once and checked against its sum. Raises what zipfile raises for a
    damaged file, ValueError for pickled objects and for members that are no arrays.
    """
    found: dict[str, Rows] = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name not in wanted:
                found[name] = HeldRows(np.empty(0))
                continue
            with archive.open(info) as member:
                shape, columns_first, dtype = _header(member)
                offset = member.tell()
                while member.read(_BLOCK_BYTES):
                    pass
            if columns_first:
                with archive.open(info) as member:
                    held = np.lib.format.read_array(member, allow_pickle=False)
                found[name] = HeldRows(held)
            elif info.compress_type == zipfile.ZIP_STORED:
                start = _data_start(path, info)
                found[name] = FileRows(path, start + offset, shape, dtype)
            else:
                found[name] = PackedRows(path, info.filename, offset, shape, dtype)
    return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Read the head of an array: its shape, whether columns are first, its type."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, columns_first, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        message = f"version {version[0]}.{version[1]} of the .npy format"
        raise ValueError(message)
    if dtype.hasobject:
        message = "it holds pickled objects"
        raise ValueError(message)
    return tuple(shape), bool(columns_first) and len(shape) > 1, dtype


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where the bytes of a stored member begin: behind its own header in the file."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        fields = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    return info.header_offset + _LOCAL_HEADER.size + int(fields[-2]) + int(fields[-1])


def _array(data: bytes, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
    wanted = dtype.itemsize * math.prod(shape)
    if len(data) != wanted:
        message = f"the file ends {wanted - len(data)} bytes too early"
        raise EOFError(message)
    return np.frombuffer(data, dtype).reshape(shape)
