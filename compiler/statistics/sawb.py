"""Statistics-aware weight binning (SAWB, Choi et al. 2019): scales without a search.

The clip of least squared error is predicted from two moments of the weights:
alpha* = c1 · sqrt(E[w²]) + c2 · E[|w|]. The coefficients are this project's own, derived by
benchmarks/derive_sawb.py from six distributions (normal, Laplace, uniform, logistic,
triangle, von Mises). In odd levels the scale is alpha / (2^b - 1); in two's complement, where
the line was fitted to the symmetric levels, it is alpha / (2^(b-1) - 1).

At 1 bit the optimum has a closed form, E[|w|] · sign(w). From 5 bits on SAWB is refused: the
line fits worse with every bit. On those same distributions, in odd levels and with the
fallback below, the largest error over the true optimum is 1.01 times at 2 and 3 bits and 1.17
at 4 bits, but 2.9 at 5 bits, and at 8 bits 1.3 on normal, 1.8 on logistic and over 2000 on
uniform weights (``python benchmarks/derive_sawb.py --costs`` prints them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.statistics.sawb_table import COEFFICIENTS
from lowbitc.compiler.statistics.weight_scales import WeightFit, fit_weights, fit_with_scales

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float64, LevelType

SAWB_UP_TO_BITS = 4


def bin_weights(weights: Array, levels_type: LevelType, *, per_channel: bool = True) -> WeightFit:
    """Bin weights [O, K] by SAWB up to 4 bits, by the least squared error above.

    ``per_channel`` takes the moments of each row; otherwise one alpha serves the tensor, as in
    the paper. Above 4 bits scales are per channel in any case.
    """
    if levels_type.bits > SAWB_UP_TO_BITS:
        return fit_weights(weights, levels_type)
    scales = sawb_scales(weights, levels_type, per_channel=per_channel)
    return fit_with_scales(weights, scales, levels_type)


def sawb_scales(weights: Array, levels_type: LevelType, *, per_channel: bool = True) -> Float64:
    """Predict the scale of each row of weights [O, K]; value = level · scale.

    Where the prediction is not positive, or above the largest magnitude (weights close to
    uniform), alpha is the largest magnitude. Rows of zeros, or a tensor of them, get 1.0.
    Raises ValueError on levels SAWB is not for: unsigned, I1, and 5 bits or more.
    """
    rows = np.asarray(weights, dtype=np.float64)
    sample = rows if per_channel else rows.reshape(1, -1)
    size = np.abs(sample)
    mean = size.mean(axis=1)
    largest = size.max(axis=1, initial=0.0)
    alpha = _alpha(np.sqrt((sample * sample).mean(axis=1)), mean, levels_type)
    alpha = np.where((alpha > 0) & (alpha <= largest), alpha, largest)
    scales = np.where(largest > 0, alpha / levels_type.maximum, 1.0)
    return np.array(np.broadcast_to(scales, (rows.shape[0],)), dtype=np.float64)


def _alpha(root_mean_square: Float64, mean: Float64, levels_type: LevelType) -> Float64:
    if levels_type.name == "Odd1":
        return mean
    line = COEFFICIENTS.get(levels_type.name)
    if line is None or levels_type.bits > SAWB_UP_TO_BITS:
        message = f"SAWB is not for {levels_type.name} levels; allowed: Odd1 to Odd4, I2 to I4"
        raise ValueError(message)
    return line.c1 * root_mean_square + line.c2 * mean
