"""Layers that train in an arithmetic of few bits, for any torch network.

In FP4 and LUQ weights are 4-bit levels by SAWB, and inputs 4-bit levels behind a learned clip
(PACT). In FP8 weights and inputs are 1-4-3; in its first and last layer, as all its sums are,
1-6-9. Biases are added in float.
"""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

from typing import cast

import numpy as np
from torch import Tensor, nn

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.elements import U4
from lowbitc.compiler.ir.types import Clip
from lowbitc.training.arithmetic import Arithmetic, Settings
from lowbitc.training.formats import FP8_FORWARD, FP16
from lowbitc.training.geometry import Geometry
from lowbitc.training.gradients import GradientFormat
from lowbitc.training.products import multiply
from lowbitc.training.quantizers import ActivationQuantizer, WeightMethod, WeightQuantizer
from lowbitc.training.straight_through import ClipGradient, round_float

CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
"""Torch's convolutions."""

START = Clip(U4, 6 / U4.maximum)
"""Where a clip starts that has seen no input: at 6."""


class FloatOperands(nn.Module):
    """Operands in FP8 (1-4-3), or FP16 in the first and the last layer of FP8."""

    def __init__(self, gradients: GradientFormat) -> None:
        """Take the operands' format from that of the gradients."""
        super().__init__()
        self.gradients = gradients
        self.form = FP16 if gradients.arithmetic is Arithmetic.FP16 else FP8_FORWARD

    def forward(self, geometry: Geometry, x: Tensor, weights: Tensor) -> Tensor:
        """Return the sums."""
        x, weights = round_float(x, self.form), round_float(weights, self.form)
        return multiply(geometry, x, weights, self.gradients, forward=True)


class LevelOperands(nn.Module):
    """Operands of 4 bits: weights by SAWB, one scale a layer as published, inputs by PACT."""

    def __init__(self, gradients: GradientFormat, clip: Clip = START) -> None:
        """Start at a clip."""
        super().__init__()
        self.gradients = gradients
        self.inputs = ActivationQuantizer(clip, ClipGradient.PACT)
        self.weights = WeightQuantizer(gradients.settings.weights, np.ones(1), WeightMethod.SAWB)

    def forward(self, geometry: Geometry, x: Tensor, weights: Tensor) -> Tensor:
        """Return the sums."""
        levels, step = self.weights.levels(weights.reshape(1, -1))
        sums = multiply(geometry, self.inputs.levels(x), levels.view_as(weights), self.gradients)
        return sums * (self.inputs.scale() * step)


class LowBitLayer(nn.Module):
    """A convolution or dense layer of torch, which computes in an arithmetic.

    Its ``weight`` and ``bias`` are the torch layer's own.
    """

    def __init__(
        self,
        layer: nn.Module,
        settings: Settings,
        arithmetic: Arithmetic | None = None,
        number: int = 0,
        clip: Clip = START,
    ) -> None:
        """Take over a layer; ``arithmetic`` is its own where it differs from the training's.

        Raises CompileError LB794 where there is no such layer in few bits.
        """
        super().__init__()
        if (arithmetic or settings.arithmetic) is Arithmetic.FLOAT:
            raise ValueError("in float, torch's own layer is the layer")
        self.geometry = read_geometry(layer)
        self.weight = cast("nn.Parameter", layer.weight)
        self.bias = cast("nn.Parameter | None", layer.bias)
        gradients = GradientFormat(arithmetic or settings.arithmetic, settings, number)
        levels = gradients.arithmetic in {Arithmetic.FP4, Arithmetic.FP4_FP8, Arithmetic.LUQ}
        self.operands = LevelOperands(gradients, clip) if levels else FloatOperands(gradients)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        sums = cast("Tensor", self.operands(self.geometry, x, self.weight))
        if self.bias is None:
            return sums
        return sums + self.bias.reshape(-1, *(1,) * self.geometry.rank)


def read_geometry(layer: nn.Module) -> Geometry:
    """Return the geometry of a layer of torch.

    Raises CompileError LB794 where it is none that can be computed in few bits.
    """
    if isinstance(layer, nn.Linear):
        return Geometry()
    if not isinstance(layer, CONVOLUTIONS) or layer.padding_mode != "zeros":
        mode = getattr(layer, "padding_mode", "")
        raise CompileError(
            [
                error(
                    "LB794",
                    "a layer cannot be trained in few bits",
                    found=f"{type(layer).__name__}{mode and f' with padding_mode {mode}'}",
                    allowed="convolutions that pad with zeros, and Linear",
                    hint="put nn.ReflectionPad2d or its like in front, and padding=0",
                )
            ]
        )
    reach = [(k - 1) * d for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
    if isinstance(layer.padding, str):  # "same" or "valid"
        whole = reach if layer.padding == "same" else [0] * len(reach)
        begins = [n // 2 for n in whole]
        ends = [n - begin for n, begin in zip(whole, begins, strict=True)]
    else:
        begins = list(layer.padding)
        ends = [p - more for p, more in zip(begins, layer.output_padding, strict=True)]
    return Geometry(
        tuple(layer.kernel_size),
        tuple(layer.stride),
        tuple(layer.dilation),
        (*begins, *ends),
        layer.groups,
        layer.transposed,
    )
