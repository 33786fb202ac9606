"""Unbiased gradients of 4 bits: a sign and powers of two (LUQ, Chmiel et al. 2021).

Levels are 0 and ±α · 2^k for k = 0 … 6, α being the largest magnitude over 2^6. Between two levels,
and between 0 and α, a value goes to either at random with the mean at the value itself, so that
nothing is lost on average and nothing is clipped.
"""

from __future__ import annotations

import torch
from torch import Tensor

POWERS = 7


def round_logarithmic(x: Tensor, noise: Tensor) -> Tensor:
    """Round at random; ``noise`` holds a number in [0, 1) for each value."""
    largest = x.abs().max()
    alpha = largest / 2 ** (POWERS - 1)
    steps = torch.where(alpha > 0, x.abs() / alpha, torch.zeros_like(x))
    # steps = m · 2^e with ½ ≤ m < 1; at or above 1 the level below is 2^(e − 1), else it is 0.
    _, exponent = torch.frexp(steps)
    power = torch.exp2((exponent - 1).clamp(min=0, max=POWERS - 1).to(x.dtype))
    below = torch.where(steps >= 1, power, torch.zeros_like(power))
    above = torch.where(steps >= 1, 2 * power, torch.ones_like(power))
    share = (steps - below) / (above - below)
    return torch.where(noise < share, above, below) * alpha * torch.sign(x)
