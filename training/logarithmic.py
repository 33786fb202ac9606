"""Unbiased gradients of 4 bits: a sign and powers of two (LUQ, Chmiel et al. 2021).

Code 0 is zero, codes 1 to 7 are α · 2^(code − 1), α being the largest magnitude over 2^6. Between
two levels, and between 0 and α, a value goes to either at random with the mean at the value itself,
so that nothing is lost on average and nothing is clipped. Where one value is not finite, all become
NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

POWERS = 7
_SIGN = 8


def least_level(x: Tensor) -> Tensor:
    """Return α."""
    return x.abs().max() / 2 ** (POWERS - 1)


def encode(x: Tensor, alpha: Tensor, noise: Tensor) -> Tensor:
    """Return the code, 0 to 15, of each value; ``noise`` holds a number in [0, 1) for each."""
    steps = torch.where(alpha > 0, x.abs() / alpha, torch.zeros_like(x))
    # steps = m · 2^e with ½ ≤ m < 1; at or above 1 the level below is 2^(e − 1), else it is 0.
    _, exponent = torch.frexp(steps)
    below = exponent.clamp(min=0, max=POWERS).masked_fill_(steps < 1, 0)
    gap = torch.exp2((below - 1).clamp_(min=0).to(x.dtype))
    share = steps / gap - (below > 0).to(x.dtype)
    code = (below + (noise < share)).clamp_(max=POWERS)
    return torch.where((x < 0) & (code > 0), code + _SIGN, code)


def decode(codes: Tensor, alpha: Tensor) -> Tensor:
    """Return the value of each code."""
    size = codes % _SIGN
    value = torch.exp2((size - 1).to(alpha.dtype)).masked_fill_(size == 0, 0) * alpha
    return torch.where(codes >= _SIGN, -value, value)


def round_logarithmic(x: Tensor, noise: Tensor) -> Tensor:
    """Round at random; ``noise`` holds a number in [0, 1) for each value."""
    alpha = least_level(x)
    return decode(encode(x, alpha, noise), alpha)
