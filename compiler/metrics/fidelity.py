"""How far outputs are from the float network's: mean squared error, and signal to noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.metrics.metric import (
    Traits,
    float_output,
    output,
    size,
    total,
    unmeasurable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compiler.elements import Float64
    from lowbitc.compiler.metrics.metric import Row, Rows, Scored

_DECIBEL = 10 / math.log(10)


@dataclass(frozen=True, slots=True)
class MeanSquaredError:
    """The mean of (program − float)² over all elements. Rows are (sum of squares, elements)."""

    name: str = "mse"
    output: str = ""

    @property
    def traits(self) -> Traits:
        """Lower is better, without a bound."""
        return Traits(higher_is_better=False, span=None, fidelity=True)

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Return (squared error, elements) of each sample."""
        mine, theirs = _both(self.name, scored, self.output)
        return [(_square(m - t), float(m.size)) for m, t in zip(mine, theirs, strict=True)]

    def value(self, rows: Rows) -> float:
        """Return the mean squared error."""
        return total(rows, 0) / total(rows, 1)

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return the derivative of a ratio of sums."""
        value, mean = self.value(rows), total(rows, 1) / size(rows)
        return {row: (row[0] - value * row[1]) / mean for row in rows}

    def chance(self, rows: Rows) -> float | None:
        """Return nothing: an error has no value of chance."""
        del rows
        return None


@dataclass(frozen=True, slots=True)
class SignalToNoise:
    """SQNR in dB: 10·log10(Σ float² / Σ (program − float)²). Rows are (signal, noise)."""

    name: str = "sqnr"
    output: str = ""

    @property
    def traits(self) -> Traits:
        """Higher is better, without a bound."""
        return Traits(span=None, fidelity=True)

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Return (signal, noise) of each sample."""
        mine, theirs = _both(self.name, scored, self.output)
        return [(_square(t), _square(m - t)) for m, t in zip(mine, theirs, strict=True)]

    def value(self, rows: Rows) -> float:
        """Return decibels; infinite where both are equal.

        Raises CompileError LB736 where the float network puts out nothing but 0.
        """
        signal, noise = total(rows, 0), total(rows, 1)
        if signal == 0:
            raise unmeasurable(self.name, "the float network puts out nothing but 0")
        return math.inf if noise == 0 else 10 * math.log10(signal / noise)

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return the derivative of the logarithm of a ratio of sums."""
        n = size(rows)
        signal, noise = total(rows, 0) / n, total(rows, 1) / n
        return {
            row: _DECIBEL * (row[0] / signal - row[1] / noise) if noise else 0.0 for row in rows
        }

    def chance(self, rows: Rows) -> float | None:
        """Return nothing: a ratio has no value of chance."""
        del rows
        return None


def _both(metric: str, scored: Scored, name: str) -> tuple[Float64, Float64]:
    """Return the program's and the float network's output, each [n, elements]."""
    mine, theirs = output(scored, name), float_output(scored, name)
    if mine.shape != theirs.shape and mine.size != theirs.size:
        raise unmeasurable(
            metric,
            f"{mine.shape} from the program, {theirs.shape} from float",
            allowed="outputs of one shape",
            hint="is --reference the model that the program was compiled from?",
        )
    count = len(mine)
    return (
        np.asarray(np.reshape(mine, (count, -1)), np.float64),
        np.asarray(np.reshape(theirs, (count, -1)), np.float64),
    )


def _square(row: Float64) -> float:
    """Return Σ row², summed in the same order wherever the row stands in a batch."""
    return float(np.sum(np.square(np.ascontiguousarray(row))))
