"""Data sets in memory and in .npz files."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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


@dataclass(frozen=True, slots=True)
class ArrayDataset:
    """Arrays [n, sample…] by input name, and labels [n, …] or None."""

    name: str
    inputs: Mapping[str, Array]
    labels: Array | None
    dtypes: Mapping[str, str]

    def __len__(self) -> int:
        """Return the number of samples."""
        return next((len(a) for a in self.inputs.values()), 0)

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield batches in order, converted to the model's element types.

        Raises CompileError LB724 at the first batch with NaN or infinities.
        """
        for start in range(0, len(self), size):
            cut = slice(start, start + size)
            arrays = {k: a[cut].astype(self.dtypes[k]) for k, a in self.inputs.items()}
            for name, array in arrays.items():
                check_values(self.name, name, array, start)
            labels = None if self.labels is None else self.labels[cut]
            yield Batch(arrays, labels)


def array_dataset(
    name: str, arrays: Mapping[str, Array], specs: Sequence[InputSpec]
) -> ArrayDataset:
    """Match arrays with the model's inputs; ``y`` holds labels.

    A model with one input also takes an array called ``x``. Raises CompileError with every
    mismatch of names, shapes, types and lengths.
    """
    chosen: dict[str, Array] = {}
    for spec in specs:
        key = spec.name if spec.name in arrays else _ALONE if len(specs) == 1 else ""
        if (key in arrays and key != _LABELS) or spec.name in arrays:
            chosen[spec.name] = arrays[key]
    if len(chosen) < len(specs):
        raise CompileError([missing_inputs(name, specs, list(arrays))])
    found: list[Diagnostic] = []
    for spec in specs:
        chosen[spec.name] = _with_samples(chosen[spec.name], spec)
        array = chosen[spec.name]
        found += check_array(name, spec, array.shape, array.dtype)
    lengths = {k: len(a) if a.ndim else 0 for k, a in chosen.items()}
    labels = arrays.get(_LABELS) if _LABELS not in chosen else None
    if labels is not None:
        lengths[_LABELS] = len(labels) if labels.ndim else 0
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


def _with_samples(array: Array, spec: InputSpec) -> Array:
    """Accept one whole sample where the model has no batch, and [n, 1, …] for [n, …]."""
    if array.shape == spec.shape and spec.shape[:1] != (1,):
        return array[None]
    if array.ndim == len(spec.shape) + 1 and array.shape[1:] == spec.shape:
        return array.reshape(len(array), *spec.sample_shape)
    return array


def read_npz(path: Path, specs: Sequence[InputSpec]) -> ArrayDataset:
    """Read an .npz (or .npy, for a model with one input); pickled objects are refused.

    Raises CompileError LB726 when the file cannot be read.
    """
    try:
        arrays = _read_npy(path) if path.suffix == ".npy" else _read_npz(path, specs)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as problem:
        raise CompileError(
            [
                error(
                    "LB726",
                    f"{path} cannot be read as an .npz file",
                    found=str(problem).splitlines()[0] if str(problem) else type(problem).__name__,
                    allowed="an .npz written by numpy.savez, without pickled objects",
                    hint="write it again with numpy.savez(path, x=…, y=…)",
                )
            ]
        ) from problem
    return array_dataset(path.name, arrays, specs)


def _read_npy(path: Path) -> dict[str, Array]:
    return {_ALONE: np.load(path, allow_pickle=False, mmap_mode="r")}


def _read_npz(path: Path, specs: Sequence[InputSpec]) -> dict[str, Array]:
    """Read the arrays that are wanted; where there are none, the others' names."""
    wanted = {s.name for s in specs} | {_ALONE, _LABELS}
    # The file is opened here, so that it is closed too when it turns out to be no archive.
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {_ALONE: loaded}
        arrays = {name: loaded[name] for name in loaded.files if name in wanted}
        return arrays or {name: np.empty(0) for name in loaded.files}
