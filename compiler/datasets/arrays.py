"""Data sets in memory and in .npz files, read batch by batch."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numpy.lib.format import MAGIC_PREFIX

from lowbitc.compiler.datasets.rows import HeldRows, Reshaped, Rows, archive_rows, file_rows
from lowbitc.compiler.datasets.stream import (
    Batch,
    InputSpec,
    check_array,
    check_values,
    empty,
    missing_inputs,
)
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lowbitc.compiler.elements import Array

_LABELS = "y"
_ALONE = "x"
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
"""What numpy and zipfile raise for files that are damaged, encrypted or something else."""


@dataclass(frozen=True, slots=True)
class ArrayDataset:
    """Arrays [n, sample…] by input name, and labels [n, …] or None."""

    name: str
    inputs: Mapping[str, Rows]
    labels: Rows | None
    dtypes: Mapping[str, str]

    def __len__(self) -> int:
        """Return the number of samples."""
        return next((rows.shape[0] for rows in self.inputs.values()), 0)

    def batches(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Yield batches in order, converted to the model's element types.

        Raises CompileError LB724 at the first batch with NaN or infinities, LB726 where the file
        can be read no more.
        """
        end = len(self) if stop is None else min(stop, len(self))
        for first in range(start, end, size):
            last = min(first + size, end)
            try:
                arrays = {
                    name: rows.read(first, last).astype(self.dtypes[name])
                    for name, rows in self.inputs.items()
                }
                labels = None if self.labels is None else self.labels.read(first, last)
            except _UNREADABLE as problem:
                raise CompileError([_unreadable(self.name, problem)]) from problem
            for name, array in arrays.items():
                check_values(self.name, name, array, first)
            yield Batch(arrays, labels)


def array_dataset(
    name: str, arrays: Mapping[str, Array], specs: Sequence[InputSpec]
) -> ArrayDataset:
    """Match arrays in memory with the model's inputs, as ``rows_dataset`` does."""
    return rows_dataset(name, {key: HeldRows(array) for key, array in arrays.items()}, specs)


def rows_dataset(name: str, arrays: Mapping[str, Rows], specs: Sequence[InputSpec]) -> ArrayDataset:
    """Match arrays with the model's inputs; ``y`` holds labels.

    A model with one input also takes an array called ``x``. Raises CompileError with every
    mismatch of names, shapes, types and lengths.
    """
    chosen: dict[str, Rows] = {}
    specs = [spec for spec in specs if not spec.optional or spec.name in arrays]
    alone = sum(not spec.optional for spec in specs) == 1
    for spec in specs:
        key = spec.name if spec.name in arrays else _ALONE if alone else ""
        if (key in arrays and key != _LABELS) or spec.name in arrays:
            chosen[spec.name] = arrays[key]
    if len(chosen) < len(specs):
        raise CompileError([missing_inputs(name, specs, list(arrays))])
    found: list[Diagnostic] = []
    for spec in specs:
        chosen[spec.name] = _with_samples(chosen[spec.name], spec)
        array = chosen[spec.name]
        found += check_array(name, spec, array.shape, array.dtype)
    lengths = {key: (rows.shape or (0,))[0] for key, rows in chosen.items()}
    labels = arrays.get(_LABELS) if _LABELS not in chosen else None
    if labels is not None:
        lengths[_LABELS] = (labels.shape or (0,))[0]
    if len(set(lengths.values())) > 1:
        found.append(
            error(
                "LB725",
                f"{name}: arrays have different numbers of samples",
                found=", ".join(f"{k}: {n}" for k, n in lengths.items()),
                allowed="the same number in each",
                hint="check how the arrays were cut",
            )
        )
    elif not found and 0 in lengths.values():
        found.append(empty(name))
    if found:
        raise CompileError(found)
    return ArrayDataset(name, chosen, labels, {s.name: s.dtype for s in specs})


def _with_samples(rows: Rows, spec: InputSpec) -> Rows:
    """Accept one whole sample where the model has no batch, and [n, 1, …] for [n, …]."""
    if rows.shape == spec.shape and spec.shape[:1] != (1,):
        whole = rows.read(0, rows.shape[0]) if rows.shape else rows.read(0, 1)
        return HeldRows(whole.reshape(1, *spec.shape))
    if len(rows.shape) == len(spec.shape) + 1 and rows.shape[1:] == spec.shape:
        return Reshaped(rows, (rows.shape[0], *spec.sample_shape))
    return rows


def read_npz(path: Path, specs: Sequence[InputSpec]) -> ArrayDataset:
    """Open an .npz (or .npy, for a model with one input); pickled objects are refused.

    Samples stay in the file until their batch is asked for. Raises CompileError LB726 when the
    file cannot be read.
    """
    wanted = frozenset({s.name for s in specs} | {_ALONE, _LABELS})
    try:
        arrays = _arrays_of(path, wanted)
    except _UNREADABLE as problem:
        raise CompileError([_unreadable(str(path), problem)]) from problem
    return rows_dataset(path.name, arrays, specs)


def _arrays_of(path: Path, wanted: frozenset[str]) -> dict[str, Rows]:
    """Read what the file is, whatever it is called."""
    with path.open("rb") as file:
        alone = file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX
    return {_ALONE: file_rows(path)} if alone else archive_rows(path, wanted)


def _unreadable(name: str, problem: Exception) -> Diagnostic:
    if isinstance(problem, OSError):
        return error(
            "LB726",
            f"{name} cannot be opened",
            found=problem.strerror or str(problem),
            allowed="an .npz that is there and can be read",
            hint="check the path, and the permissions of file and folder",
        )
    return error(
        "LB726",
        f"{name} cannot be read as an .npz file",
        found=str(problem).splitlines()[0] if str(problem) else type(problem).__name__,
        allowed="an .npz written by numpy.savez, without pickled objects",
        hint="write it again with numpy.savez(path, x=…, y=…)",
    )
