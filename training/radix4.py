"""Gradients of 4 bits: a sign and powers of four (Sun et al., NeurIPS 2020).

The format has 1 sign bit, 3 exponent bits and no mantissa: code 0 is zero, codes 1 to 7 are
top · 4^(code − 7). Rounding is at the arithmetic midpoint of two powers, 2.5 · 4^k: times 1.6 that
is a power of four, so |x| · 1.6 rounded down to a power of four is |x| rounded to the nearest.
Below 2.5/4 of the smallest power it is 0. Beyond the largest power, and at infinity, it is that
power; NaN has no code, and stays NaN when rounded.

Two-phase rounding takes the grid twice as fine: the gradient of the inputs sees powers at even
exponents of two, that of the weights those at odd ones, so that their errors differ.
"""

from __future__ import annotations

import enum

import torch
from torch import Tensor

POWERS = 7
_FACTOR = 1.6
_SIGN = 8


class Phase(enum.Enum):
    """Which powers of two are the grid: top · 4^−k, or half of it."""

    EVEN = 1.0
    ODD = 0.5


def encode(x: Tensor, top: float, phase: Phase = Phase.EVEN) -> Tensor:
    """Return the code, 0 to 15, of each value; ``top`` is the largest power, a power of two."""
    steps = x.abs() * (_FACTOR / (top * phase.value))
    # frexp is exact: steps = m · 2^e with ½ ≤ m < 1, so 2^(e − 1) is the power of two at or below.
    _, exponent = torch.frexp(steps)
    power = torch.div(exponent - 1, 2, rounding_mode="floor")
    code = (power + POWERS).clamp(max=POWERS)
    code = torch.where((code >= 1) & (steps > 0), code, torch.zeros_like(code))
    return torch.where((x < 0) & (code > 0), code + _SIGN, code)


def decode(codes: Tensor, top: float, phase: Phase = Phase.EVEN) -> Tensor:
    """Return the value of each code."""
    size = codes % _SIGN
    power = top * phase.value * torch.exp2(2.0 * (size - POWERS).float())
    value = torch.where(size > 0, power, torch.zeros_like(power))
    return torch.where(codes >= _SIGN, -value, value)


def round_radix4(x: Tensor, top: float, phase: Phase = Phase.EVEN) -> Tensor:
    """Return the value that each value's code stands for, without making the code."""
    largest = top * phase.value
    _, exponent = torch.frexp(x.abs() * (_FACTOR / largest))
    power = ((exponent - 1) >> 1).clamp(-POWERS, 0)
    value = torch.exp2((2 * power).to(x.dtype)).mul_(largest)
    value.masked_fill_((power == -POWERS) | (x == 0), 0)
    return torch.where(x.isnan(), x, value.copysign_(x))
