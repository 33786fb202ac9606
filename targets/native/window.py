"""The sliding window that convolutions and pools share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A kernel with stride, padding (top, left, bottom, right) and dilation; sizes in pixels."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the output's height and width; refuse a window that does not fit."""
        if min(*self.stride, *self.dilation) < 1:
            raise ValueError(f"{self} has no stride or no dilation")
        top, left, bottom, right = self.pads
        size = (
            _positions(height + top + bottom, self.kernel[0], self.stride[0], self.dilation[0]),
            _positions(width + left + right, self.kernel[1], self.stride[1], self.dilation[1]),
        )
        least = min(*size, *self.kernel, *self.stride, *self.dilation)
        if least < 1 or min(self.pads) < 0:
            raise ValueError(f"{self} does not fit an image of {height} x {width}")
        return size


def _positions(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Return how often a kernel fits along one side."""
    return (size - (kernel - 1) * dilation - 1) // stride + 1
