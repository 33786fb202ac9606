"""Windows of convolutions and pools: kernel, stride, dilation and explicit pads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowbitc.compiler.frontend.reading import Reading

_UNPADDED = ("NOTSET", "VALID")


@dataclass(frozen=True, slots=True)
class Window:
    """A window over the spatial dimensions; ``pads`` are all begins, then all ends."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]

    @property
    def extents(self) -> tuple[int, ...]:
        """What the dilated kernel spans."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


def window(reading: Reading, kernel: tuple[int, ...]) -> Window:
    """Read the window attributes; SAME_UPPER and SAME_LOWER become explicit pads.

    SAME pads so that out = ⌈in / stride⌉, with the odd one at the end (UPPER) or begin (LOWER).
    """
    rank = len(kernel)
    ones = (1,) * rank
    held = reading.attributes
    plain = Window(
        kernel,
        held.integers("strides") or ones,
        held.integers("dilations") or ones,
        (0,) * (2 * rank),
    )
    mode = held.text("auto_pad", "NOTSET")
    if mode in _UNPADDED:
        pads = None if mode == "VALID" else held.integers("pads")
        return Window(plain.kernel, plain.stride, plain.dilation, pads or plain.pads)
    sizes = reading.shape()[-rank:]
    totals = tuple(
        max((-(-size // stride) - 1) * stride + extent - size, 0)
        for size, stride, extent in zip(sizes, plain.stride, plain.extents, strict=True)
    )
    return Window(plain.kernel, plain.stride, plain.dilation, split_pads(totals, mode))


def split_pads(totals: tuple[int, ...], mode: str) -> tuple[int, ...]:
    """Share the padding of each dimension between begin and end."""
    small = tuple(total // 2 for total in totals)
    large = tuple(total - half for total, half in zip(totals, small, strict=True))
    return small + large if mode == "SAME_UPPER" else large + small
