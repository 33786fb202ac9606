"""Choose how far apart the levels of each channel of an activation shall be.

Levels share one scale, but channels may be divided by factors of their own before and multiplied
behind, which gives channel c a step u of its own. Rounding to it costs a reader a · mse(u), where a
is the squared weight that reads the channel. Where the reader's weights share a scale over the
channels, weights times u are what is rounded: with κ the relative error of so many bits and C
channels, that costs κ/C · Σ a u² · Σ m/u², m being the channel's mean square. Both are least
together where each channel takes its best u given the two sums, repeated until nothing moves.
Values that an Add joins have one factor a channel between them, and add their costs up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float32, Float64

_STEPS = 24
_IN_OCTAVE = 6
_ROUNDS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One of the values that share their factors.

    ``rows`` [C, n] are values of each channel, never negative, to be held at levels 0 to ``top``.
    ``energy`` [C] is what a squared error of the channel costs all readers, ``shared`` [C] the
    part of it of readers whose weights share a scale over channels, times their κ.
    """

    rows: Float32
    energy: Float64
    shared: Float64
    top: int

    @property
    def largest(self) -> Float64:
        """The largest value of each channel."""
        return np.asarray(self.rows.max(axis=1, initial=0.0), np.float64)


def choose_steps(*readings: Reading) -> Float64:
    """Return the step of each channel; of several values, up to a factor of each value's own.

    A channel that is always zero gets the mean step.
    """
    if len(readings) > 1:
        readings = tuple(_in_units(reading) for reading in readings)
    largest = np.max([reading.largest / reading.top for reading in readings], axis=0)
    alive = largest > 0
    if not alive.any():
        return np.ones(len(largest))
    steps = np.where(alive, largest, 1.0)
    tried = steps[:, np.newaxis] * np.exp2(-np.arange(_STEPS) / _IN_OCTAVE)
    costs = np.zeros_like(tried)
    for reading in readings:
        errors = [_mean_errors(reading.rows, tried[:, j], reading.top) for j in range(_STEPS)]
        costs += reading.energy[:, np.newaxis] * np.stack(errors, axis=1)
    powers = [np.square(r.rows, dtype=np.float64).mean(axis=1) for r in readings]
    chosen = costs.argmin(axis=1)
    for _ in range(_ROUNDS):
        now = np.take_along_axis(tried, chosen[:, np.newaxis], axis=1)[:, 0]
        both = np.zeros_like(tried)
        for reading, power in zip(readings, powers, strict=True):
            weights = float((reading.shared * now * now)[alive].mean())
            inputs = float((power / (now * now))[alive].sum())
            both += weights * power[:, np.newaxis] / tried**2
            both += inputs / alive.sum() * reading.shared[:, np.newaxis] * tried**2
        following = (costs + both).argmin(axis=1)
        if np.array_equal(following, chosen):
            break
        chosen = following
    now = np.take_along_axis(tried, chosen[:, np.newaxis], axis=1)[:, 0]
    return np.where(alive, now, np.exp(np.log(now[alive]).mean()))


def _in_units(reading: Reading) -> Reading:
    """Return a value in units of the mean step that it would have alone."""
    unit = float(np.exp(np.log(choose_steps(reading)).mean()))
    square = unit * unit
    rows = (reading.rows / np.float32(unit)).astype(np.float32)
    return Reading(rows, reading.energy * square, reading.shared * square, reading.top)


def _mean_errors(rows: Float32, steps: Float64, top: int) -> Float64:
    scale = steps[:, np.newaxis].astype(np.float32)
    levels = np.floor(rows / scale + np.float32(0.5))
    np.minimum(levels, np.float32(top), out=levels)
    levels *= scale
    levels -= rows
    levels *= levels
    return np.asarray(levels.mean(axis=1, dtype=np.float64))
