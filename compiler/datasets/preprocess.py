"""How an image becomes a model's input; stored in the program, so that it cannot drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32

LAYOUTS = ("nchw", "nhwc")
COLORS = ("rgb", "bgr", "gray")


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Resize the shorter side, crop the centre, then (pixel − mean) · scale with pixels 0…255.

    ``size`` is (height, width) of the crop; ``resize`` the shorter side before it, 0 for none
    (the image is then resized to ``size`` as a whole). ``mean`` and ``scale`` have one entry or
    one a channel.
    """

    size: tuple[int, int]
    layout: str = "nchw"
    color: str = "rgb"
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    resize: int = 0

    def to_input(self, pixels: Array) -> Float32:
        """Turn pixels [H, W, channels] of 0…255 in RGB or gray into one sample."""
        ordered = pixels[..., ::-1] if self.color == "bgr" else pixels
        values = (ordered.astype(np.float32) - np.asarray(self.mean, np.float32)) * np.asarray(
            self.scale, np.float32
        )
        moved = np.moveaxis(values, -1, 0) if self.layout == "nchw" else values
        return np.ascontiguousarray(moved, np.float32)
