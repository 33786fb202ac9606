"""The gradient of a layer's sums, in a format of few bits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lowbitc.training.arithmetic import Arithmetic, Settings
from lowbitc.training.formats import FP8_GRADIENTS, FP16
from lowbitc.training.logarithmic import round_logarithmic
from lowbitc.training.radix4 import Phase, round_radix4

if TYPE_CHECKING:
    from collections.abc import Callable

_UNSET = -(1 << 30)
_HEADROOM = math.frexp(FP8_GRADIENTS.largest)[1] - 1
"""The largest power of two in FP8; FP16 is scaled as FP8 is."""


class GradientFormat(nn.Module):
    """The format of one layer's gradients.

    For FP4, FP8 and FP16 the largest power is 2^``exponent``: GradScale raises it by one after a
    step whose gradients passed it, and lowers it by one after a step whose gradients left its upper
    half unused. The first step sets it. Random rounding depends on the seed and the step alone.
    """

    exponent: Tensor
    step: Tensor

    def __init__(
        self,
        arithmetic: Arithmetic,
        settings: Settings | None = None,
        number: int = 0,
        agree: Callable[[float], float] = float,
    ) -> None:
        """Make the format of layer ``number``; ``agree`` finds the largest of all processes."""
        super().__init__()
        self.agree = agree
        settings = settings or Settings(arithmetic)
        self.arithmetic = arithmetic
        self.settings = settings
        self.seed = settings.seed + number
        start = _UNSET if settings.scale is None else settings.scale
        self.register_buffer("exponent", torch.tensor(start))
        self.register_buffer("step", torch.tensor(0))

    def rounded(self, grad: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return a gradient as the inputs' and the weights' product read it, and their unit.

        In units of a power of two, so that products are computed where the format is.
        """
        if self.arithmetic is Arithmetic.FLOAT:
            return grad, grad, 1.0
        if self.arithmetic is Arithmetic.LUQ:
            found = round_logarithmic(grad, self._noise(grad))
            return found, found, 1.0
        top = self._top(self.agree(float(grad.abs().max())))
        if self.arithmetic is Arithmetic.FP4:
            odd = Phase.ODD if self.settings.two_phase else Phase.EVEN
            return round_radix4(grad, top), round_radix4(grad, top, odd), 1.0
        unit = math.ldexp(top, -_HEADROOM)
        form = FP16 if self.arithmetic is Arithmetic.FP16 else FP8_GRADIENTS
        found = form.round(grad / unit, self._noise(grad))
        if self.arithmetic is Arithmetic.FP4_FP8:
            return round_radix4(grad / unit, top / unit), found, unit
        return found, found, unit

    def _noise(self, grad: Tensor) -> Tensor:
        """Return a number in [0, 1) for each value."""
        random = torch.Generator().manual_seed((self.seed << 32) + int(self.step))
        self.step.add_(1)
        return torch.rand(grad.shape, generator=random).to(grad)

    def _top(self, largest: float) -> float:
        """Return the largest power for this step, and adapt it for the next."""
        if self.settings.scale is not None:
            return 2.0**self.settings.scale
        if not 0 < largest < math.inf:
            return 1.0  # any will do: of zeros, or of what will be NaN or the largest number
        needed = math.frexp(largest)[1]
        if int(self.exponent) == _UNSET:
            self.exponent.fill_(needed)
        now = int(self.exponent)
        self.exponent.add_((needed > now) - (needed < now - 1))
        return 2.0**now
