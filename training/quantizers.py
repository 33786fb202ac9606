"""Learned clips of activations, and scales of weights, as torch modules.

Scales are learned as a factor of their first value, so that one learning rate suits pixels of
0 … 255 and outputs of 0 … 1 alike.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from lowbitc.compiler.statistics.sawb import SAWB_UP_TO_BITS
from lowbitc.compiler.statistics.sawb_table import COEFFICIENTS
from lowbitc.training.output_stage import round_stage
from lowbitc.training.straight_through import ClipGradient, round_activations, round_weights

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64, LevelType
    from lowbitc.compiler.ir.types import Clip
    from lowbitc.training.output_stage import Stage

_LEAST_FACTOR = 1e-3
"""A scale stays positive: a clip that learned its way to 0 would never come back."""


class WeightMethod(enum.Enum):
    """Where the scales of weights come from."""

    SAWB = "sawb"
    """The weights' moments, anew at each step; weights beyond the clip do not learn."""
    SAWB_PLUS = "sawb+"
    """As SAWB, but all weights learn."""
    LSQ = "lsq"
    """Learned with the weights (arXiv 1902.08153)."""
    MIN_MAX = "minmax"
    """The largest weight of the channel, for comparison."""


class ActivationQuantizer(nn.Module):
    """The clip of a group of values: PACT's α as α₀ · ``factor``, learned.

    Levels are those of the clip's element type; with signed levels both ends move together.
    """

    first: Tensor

    def __init__(self, clip: Clip, gradient: ClipGradient) -> None:
        """Start at a calibrated clip."""
        super().__init__()
        self.element = clip.element
        self.zero = clip.zero
        self.gradient = gradient
        self.factor = nn.Parameter(torch.ones(()))
        self.register_buffer("first", torch.tensor(clip.scale, dtype=torch.float64))

    def scale(self) -> Tensor:
        """Return the value of one level, in the type of the factor."""
        factor = self.factor.clamp(min=_LEAST_FACTOR)
        return self.first.to(factor.dtype) * factor

    def levels(self, x: Tensor, *, half_even: bool = False) -> Tensor:
        """Return levels, as floats.

        ``half_even`` is for the border to the CPU, which divides in float32.
        """
        low, high = self.element.minimum - self.zero, self.element.maximum - self.zero
        scale = self.scale()
        if half_even:
            x, scale = x.float(), scale.float()
        levels = round_activations(x, scale, (low, high), self.gradient, half_even=half_even)
        return levels.to(self.factor.dtype) + self.zero

    def round_stage(self, stage: Stage) -> Tensor:
        """Return the levels, as floats, of what an output stage adds in units of a level."""
        bounds = (self.element.minimum - self.zero, self.element.maximum - self.zero)
        plain = self.gradient is ClipGradient.PACT_PLUS
        levels = round_stage(stage, bounds, None if plain else self.scale())
        return levels + self.zero if self.zero else levels

    def penalty(self) -> Tensor:
        """Return (α / α₀)²: PACT's L2 decay of the clip, in units of its first value."""
        return self.factor * self.factor

    def clip_scale(self) -> float:
        """Return the scale as the graph holds it."""
        return float(np.float32(self.scale().detach().cpu().item()))


class WeightQuantizer(nn.Module):
    """The scales of one layer's weights, rows [O, K] in units of the first scales."""

    first: Tensor

    def __init__(self, element: LevelType, scales: Float64, method: WeightMethod) -> None:
        """Start at given scales [O]."""
        super().__init__()
        self.element = element
        if method in {WeightMethod.SAWB, WeightMethod.SAWB_PLUS} and element.bits > SAWB_UP_TO_BITS:
            method = WeightMethod.LSQ  # SAWB's line does not fit so many levels
        self.method = method
        learned = method is WeightMethod.LSQ
        self.register_buffer("first", torch.as_tensor(scales.reshape(-1, 1)))
        self.factor = nn.Parameter(torch.ones(len(scales), 1), requires_grad=learned)

    def scales(self, rows: Tensor) -> Tensor:
        """Return scales [O, 1] in units of the first; gradients reach learned ones only."""
        if self.method is WeightMethod.LSQ:
            return self.factor.clamp(min=_LEAST_FACTOR)
        size = rows.detach().abs()
        largest = size.amax(dim=1, keepdim=True)
        mean = size.mean(dim=1, keepdim=True)
        if self.method is WeightMethod.MIN_MAX:
            alpha = largest
        elif self.element.bits == 1:
            alpha = mean
        else:
            line = COEFFICIENTS[self.element.name]
            root = size.square().mean(dim=1, keepdim=True).sqrt()
            alpha = line.c1 * root + line.c2 * mean
            alpha = torch.where((alpha > 0) & (alpha <= largest), alpha, largest)
        return torch.where(largest > 0, alpha / self.element.maximum, torch.ones_like(alpha))

    def levels(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return levels [O, K] as floats, and the real value of one level of each row [O]."""
        scales = self.scales(rows)
        through = self.method is WeightMethod.SAWB_PLUS
        levels = round_weights(rows, scales, self.element, through=through)
        return levels, (scales * self.first.to(scales.dtype)).reshape(-1)
