"""Activations of all calibration samples, kept in temporary files, read back in batches."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array


class Spool:
    """Arrays of one shape, joined along axis 0, in a file that vanishes when it is closed."""

    def __init__(self) -> None:
        """Start empty."""
        self._file = tempfile.TemporaryFile(prefix="lowbitc-")  # noqa: SIM115 - lives on
        self._dtype: np.dtype[np.generic] = np.dtype(np.float32)
        self._tail: tuple[int, ...] = ()
        self.rows = 0

    def append(self, array: Array) -> None:
        """Add rows; the first call settles dtype and shape."""
        if not self.rows:
            self._dtype, self._tail = array.dtype, array.shape[1:]
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(array, self._dtype).data)
        self.rows += array.shape[0]

    def read(self, start: int, stop: int) -> Array:
        """Return rows from ``start`` up to ``stop``."""
        size = int(np.prod(self._tail, dtype=np.int64)) * self._dtype.itemsize
        self._file.seek(start * size)
        found = np.frombuffer(bytearray(self._file.read((stop - start) * size)), self._dtype)
        return found.reshape(-1, *self._tail)

    def close(self) -> None:
        """Drop the file."""
        self._file.close()
