"""Choose how far apart the levels of each channel of an activation shall be.

Levels share one scale, but channels may be divided by factors of their own before and multiplied
behind, which gives channel c a step u of its own. Rounding to it costs a reader a · mse(u), where a
is the squared weight that reads the channel. Where the reader's weights share a scale over the
channels, weights times u are what is rounded: with κ the relative error of so many bits and C
channels, that costs κ/C · Σ a u² · Σ m/u², m being the channel's mean square. Both are least
together where each channel takes its best u given the two sums, repeated until nothing moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float32, Float64

_STEPS = 24
_IN_OCTAVE = 6
_ROUNDS = 20


def choose_steps(rows: Float32, energy: Float64, shared: Float64, top: int) -> Float64:
    """Return the step of each channel of ``rows`` [C, n], never negative, at levels 0 to ``top``.

    ``energy`` [C] is what a squared error of the channel costs all readers, ``shared`` [C] the
    part of it of readers whose weights share a scale over channels, times their κ.
    A channel that is always zero gets the mean step.
    """
    largest = rows.max(axis=1, initial=0.0).astype(np.float64)
    alive = largest > 0
    if not alive.any():
        return np.ones(len(rows))
    steps = np.where(alive, largest, 1.0) / top
    tried = steps[:, np.newaxis] * np.exp2(-np.arange(_STEPS) / _IN_OCTAVE)
    errors = np.stack([_mean_errors(rows, tried[:, j], top) for j in range(_STEPS)], axis=1)
    power = np.square(rows, dtype=np.float64).mean(axis=1)
    costs = energy[:, np.newaxis] * errors
    chosen = costs.argmin(axis=1)
    for _ in range(_ROUNDS):
        now = np.take_along_axis(tried, chosen[:, np.newaxis], axis=1)[:, 0]
        weights = float((shared * now * now)[alive].mean())
        inputs = float((power / (now * now))[alive].sum())
        both = weights * power[:, np.newaxis] / tried**2
        both += inputs / alive.sum() * shared[:, np.newaxis] * tried**2
        following = (costs + both).argmin(axis=1)
        if np.array_equal(following, chosen):
            break
        chosen = following
    now = np.take_along_axis(tried, chosen[:, np.newaxis], axis=1)[:, 0]
    return np.where(alive, now, np.exp(np.log(now[alive]).mean()))


def _mean_errors(rows: Float32, steps: Float64, top: int) -> Float64:
    scale = steps[:, np.newaxis].astype(np.float32)
    levels = np.floor(rows / scale + np.float32(0.5))
    np.minimum(levels, np.float32(top), out=levels)
    levels *= scale
    levels -= rows
    levels *= levels
    return np.asarray(levels.mean(axis=1, dtype=np.float64))
