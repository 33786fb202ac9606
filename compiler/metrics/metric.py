"""What a metric is: rows of numbers, one a sample, and a figure of all of them.

A metric turns each sample into a row by itself, and the figure depends on the multiset of rows
alone: data may be split and merged in any way, over processes or machines, without changing a bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lowbitc.compiler.elements import Array, Float64

    Row = tuple[float, ...]
    """What a metric keeps of one sample; whole numbers and floats."""
    Rows = Mapping[Row, int]
    """How many samples have each row, in ascending order of rows."""


_EXACT = 1 << 53
"""Whole numbers below are exact as floats."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A batch after a network: outputs by name, each [n, …], and labels [n, …] or None.

    ``reference`` holds the float network's outputs for the same samples, where there are any.
    """

    outputs: Mapping[str, Array]
    labels: Array | None = None
    reference: Mapping[str, Array] | None = None

    @property
    def size(self) -> int:
        """Number of samples."""
        return next((len(array) for array in self.outputs.values()), 0)


@dataclass(frozen=True, slots=True)
class Traits:
    """What holds for a metric whatever the data.

    A ``share`` counts samples: its rows begin with 1 for a hit and 0 else. ``span`` is the width
    of the range of values, None where there is no bound. ``fidelity`` metrics compare with the
    float network sample by sample, so that they need no labels and have no drop.
    """

    higher_is_better: bool = True
    share: bool = False
    span: float | None = 1.0
    fidelity: bool = False


class Metric(Protocol):
    """A measure of outputs. Frozen dataclasses implement it; they travel to other processes."""

    @property
    def name(self) -> str:
        """How results call it."""
        ...

    @property
    def traits(self) -> Traits:
        """What holds whatever the data."""
        ...

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Return one row a sample.

        Raises CompileError LB733 to LB736 and LB739 for outputs or labels that cannot be measured.
        """
        ...

    def value(self, rows: Rows) -> float:
        """Return the figure; raises CompileError LB736 where these samples have none."""
        ...

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return ψ, how far a row moves the figure; Σψ² / (N·(N − 1)) estimates its variance."""
        ...

    def chance(self, rows: Rows) -> float | None:
        """Return the figure of a network that knows nothing; None where there is no such thing."""
        ...


def output(scored: Scored, name: str) -> Array:
    """Return an output by name, the first one for ""; it must be finite.

    Raises CompileError LB734 for NaN and infinities, LB736 for a name that is not there.
    """
    return finite(_named(scored.outputs, name))


def float_output(scored: Scored, name: str) -> Array:
    """Return the float network's output; raises CompileError LB735 where it did not run."""
    if scored.reference is None:
        raise CompileError([_no_reference()])
    return finite(_named(scored.reference, name))


def labels_of(scored: Scored) -> Array:
    """Return the labels; raises CompileError LB735 where the data has none."""
    if scored.labels is None:
        raise CompileError([_unlabelled()])
    return scored.labels


def finite(array: Array) -> Array:
    """Return the array; raises CompileError LB734 where it holds NaN or infinities."""
    if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
        bad = ~np.isfinite(array)
        first = int(np.argmax(bad.reshape(len(array), -1).any(axis=1)))
        raise CompileError(
            [
                error(
                    "LB734",
                    "the network put out NaN or infinities",
                    found=f"{int(bad.sum())} values, the first in sample {first} of its batch",
                    allowed="finite values",
                    hint="look at the data and at the parts of the network on the CPU",
                )
            ]
        )
    return array


def unmeasurable(metric: str, found: str, *, allowed: str = "", hint: str = "") -> CompileError:
    """Make the error that a metric has no value on this data."""
    return CompileError(
        [
            error(
                "LB736",
                f"{metric} cannot be measured here",
                found=found,
                allowed=allowed,
                hint=hint,
            )
        ]
    )


def mismatched(metric: str, found: str, allowed: str) -> CompileError:
    """Make the error that labels and outputs do not belong together."""
    return CompileError(
        [
            error(
                "LB733",
                f"the labels are not what {metric} measures",
                found=found,
                allowed=allowed,
                hint="check y, and that the model's first output holds the scores",
            )
        ]
    )


def matrix(array: Array) -> Float64:
    """Return [n, k] as float64, without dimensions of 1; [n] becomes [n, 1]."""
    squeezed = np.reshape(array, (len(array), *(d for d in array.shape[1:] if d != 1)))
    column = np.reshape(squeezed, (-1, 1)) if squeezed.ndim == 1 else squeezed
    return np.asarray(column, np.float64)


def mean_of(rows: Rows, pick: Callable[[Row], float]) -> float:
    """Return the exact mean of a number of each row, rounded once."""
    return math.fsum(part for row, n in rows.items() for part in _times(pick(row), n)) / size(rows)


def total(rows: Rows, index: int) -> float:
    """Return the sum of a column, rounded once; whole numbers stay exact."""
    return math.fsum(part for row, n in rows.items() for part in _times(row[index], n))


def _times(value: float, count: int) -> tuple[float, ...]:
    """Return terms whose exact sum is value · count."""
    if count == 1:
        return (value,)
    whole = float(value).is_integer() and abs(value * count) < _EXACT
    return (value * count,) if whole else (value,) * count


def size(rows: Rows) -> int:
    """Return the number of samples."""
    return sum(rows.values())


def _named(outputs: Mapping[str, Array], name: str) -> Array:
    chosen = name or next(iter(outputs), "")
    if chosen not in outputs:
        raise unmeasurable(
            f"the output {chosen}",
            "no such output",
            allowed=", ".join(outputs),
            hint="name one of the model's outputs, as output=NAME behind the metric",
        )
    return outputs[chosen]


def _no_reference() -> Diagnostic:
    return error(
        "LB735",
        "nothing to compare with",
        found="no float model",
        allowed="--reference MODEL.onnx",
        hint="give the float model that the program was compiled from",
    )


def _unlabelled() -> Diagnostic:
    return error(
        "LB735",
        "the data has no labels",
        found="no array y",
        allowed="labels in y, one a sample",
        hint="a gate that measured nothing does not pass",
    )
