"""What a data set is: named inputs in the model's layout, perhaps with labels, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.compiler.elements import Array

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An input of the model: its shape for one sample (first dimension 1 where that is a batch).

    A data set may lack what is ``optional``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    optional: bool = False

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample in a data set: without the batch dimension, if there is one."""
        return self.shape[1:] if self.shape and self.shape[0] == 1 else self.shape


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs by name, each [n, sample…], and labels [n, …] when the data set has them."""

    inputs: Mapping[str, Array]
    labels: Array | None

    @property
    def size(self) -> int:
        """Number of samples."""
        return next((len(a) for a in self.inputs.values()), 0)

    def first(self, count: int) -> Batch:
        """Return the batch cut to its first ``count`` samples."""
        if count >= self.size:
            return self
        labels = None if self.labels is None else self.labels[:count]
        return Batch({name: array[:count] for name, array in self.inputs.items()}, labels)

    def behind(self, count: int) -> Batch:
        """Return the batch without its first ``count`` samples."""
        labels = None if self.labels is None else self.labels[count:]
        return Batch({name: array[count:] for name, array in self.inputs.items()}, labels)


def joined(parts: Sequence[Batch]) -> Batch:
    """Return one batch of the samples of several; labels only where all have them."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].inputs
    labels = [part.labels for part in parts if part.labels is not None]
    return Batch(
        {name: np.concatenate([part.inputs[name] for part in parts]) for name in names},
        np.concatenate(labels) if len(labels) == len(parts) else None,
    )


class Dataset(Protocol):
    """A data set that can be read from the start as often as wanted."""

    @property
    def name(self) -> str:
        """How messages call it."""
        ...

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def batches(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Yield batches of ``size`` samples of a range; the last one may be smaller."""
        ...


def check_array(
    where: str, spec: InputSpec, shape: Sequence[int], dtype: np.dtype[np.generic]
) -> Iterator[Diagnostic]:
    """Yield what does not fit between an array [n, …] and an input of the model."""
    if tuple(shape[1:]) != spec.sample_shape:
        yield error(
            "LB721",
            f"{where}: samples of {spec.name} have the wrong shape",
            found=f"{_spell(shape[1:])} ({len(shape)} dimensions in all, samples first)",
            allowed=_spell(spec.sample_shape),
            hint="give samples in the model's own layout, with the sample as first dimension",
        )
    wanted = np.dtype(spec.dtype)
    same_kind = np.can_cast(dtype, wanted, "same_kind")
    widens = wanted.kind == "f" and dtype.kind in "fiub"
    if not (same_kind or widens):
        yield error(
            "LB722",
            f"{where}: {spec.name} has the wrong element type",
            found=str(dtype),
            allowed=f"{wanted}, or what converts to it without loss",
            hint="convert the array before saving it",
        )


def check_values(where: str, name: str, array: Array, start: int = 0) -> None:
    """Raise CompileError LB724 when an array holds NaN or infinities; names the first sample."""
    if array.dtype.kind != "f" or not array.size:
        return
    # Where there is a NaN it is both least and largest; a sum in float64 takes four times as long.
    with np.errstate(invalid="ignore"):
        ends = np.array([array.min(), array.max()])
    if bool(np.isfinite(ends).all()):
        return
    bad = ~np.isfinite(array)
    first = start + int(np.argmax(bad.reshape(len(array), -1).any(axis=1)))
    raise CompileError(
        [
            error(
                "LB724",
                f"{where}: {name} holds values that are not finite",
                found=f"{int(bad.sum())} NaN or infinite values, the first in sample {first}",
                allowed="finite values",
                hint="mend or leave out that sample",
            )
        ]
    )


def missing_inputs(where: str, specs: Sequence[InputSpec], found: Sequence[str]) -> Diagnostic:
    """Make the finding that a data set lacks inputs of the model."""
    names = [spec.name for spec in specs]
    alone = " (or x)" if len(names) == 1 else ""
    return error(
        "LB720",
        f"{where}: no array is named like an input of the model",
        found=", ".join(sorted(found)[:_SHOWN]) or "no arrays",
        allowed=", ".join(names) + alone,
        hint="name each array like the input it is for, and labels y",
    )


def empty(where: str) -> Diagnostic:
    """Make the finding that a data set has no samples."""
    return error(
        "LB723",
        f"{where} holds no samples",
        found="0 samples",
        allowed="at least 1",
        hint="check the path, or how the file was written",
    )


def _spell(shape: Sequence[int]) -> str:
    return "×".join(str(d) for d in shape) or "a number"
