"""In which arithmetic a network trains: which format each layer's products are computed in."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lowbitc.compiler.elements import I4
from lowbitc.training.formats import FP16
from lowbitc.training.sums import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from lowbitc.compiler.elements import LevelType
    from lowbitc.training.geometry import Geometry


class Arithmetic(enum.Enum):
    """A format of products; ``choose_formats`` gives each layer of a network its own."""

    FLOAT = "float"
    """As they are."""
    FP4 = "fp4"
    """Gradients are radix-4 in two phases, with a scale of each layer (GradScale)."""
    LUQ = "luq"
    """Gradients are unbiased powers of two."""
    FP8 = "fp8"
    """Gradients have 5 exponent and 2 mantissa bits, rounded at random; scaled as FP4's are."""
    FP16 = "fp16"
    """Gradients have 6 exponent and 9 mantissa bits: the first and the last layer of FP8."""
    FP4_FP8 = "fp4/fp8"
    """The input's product reads FP4, the weights' FP8: depthwise convolutions of FP4."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The arithmetic of a training, and what of it is left out to see what it is for.

    In FP8 ``chunk`` products are added before their sum is; 0 adds all in one go. ``scale`` puts
    one fixed scale, 2^``scale``, in place of GradScale. Without ``two_phase`` both products of
    FP4 read the even phase. ``weights`` are the levels of weights in FP4 and LUQ: I4, or Odd4,
    SAWB's own, which have no 0.
    """

    arithmetic: Arithmetic = Arithmetic.FLOAT
    seed: int = 0
    chunk: int = CHUNK
    scale: int | None = None
    two_phase: bool = True
    weights: LevelType = I4

    @property
    def rounds_sums(self) -> bool:
        """Whether the backward products, and in FP8 layers the forward one, round every sum."""
        return self.arithmetic is Arithmetic.FP8


def choose_formats(layers: Sequence[Geometry], wanted: Arithmetic) -> tuple[Arithmetic, ...]:
    """Return the format of each layer with weights, in the order of running.

    The first and the last are FP16 in FP8, else float. Pointwise convolutions, which the 4-bit
    training paper keeps at 8 bits, are FP8 where FP4 is wanted; of depthwise ones the gradient of
    the weights is.
    """
    chosen = [wanted] * len(layers)
    for index, layer in enumerate(layers):
        if wanted is Arithmetic.FP4 and layer.groups > 1:
            chosen[index] = Arithmetic.FP4_FP8
        elif wanted is Arithmetic.FP4 and layer.pointwise:
            chosen[index] = Arithmetic.FP8
    if chosen:
        ends = Arithmetic.FP16 if wanted is Arithmetic.FP8 else Arithmetic.FLOAT
        chosen[0] = chosen[-1] = ends
    return tuple(chosen)


def round_updates(parameters: Iterable[Tensor], seed: int, step: int) -> None:
    """Round what an optimizer's step left to FP16 (1-6-9) at random: FP8 training's weight update.

    Call it after each step. An update smaller than half of a weight's last bit is kept on average,
    where rounding to the nearest would lose it each time.
    """
    # Gradients draw from positive seeds.
    random = torch.Generator().manual_seed(-1 - ((seed << 32) + step))
    for parameter in parameters:
        held = parameter.detach()  # whose memory is the parameter's
        noise = torch.rand(held.shape, generator=random).to(held)
        held.copy_(FP16.round(held, noise))
