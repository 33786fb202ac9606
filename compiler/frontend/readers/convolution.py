"""Read Conv and ConvTranspose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.frontend.readers.windows import split_pads, window
from lowbitc.compiler.frontend.reading import Host, reader
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.frontend.reading import Reading
    from lowbitc.compiler.ir.node import Node

_X_AND_W = 2
_WITH_BIAS = 3


def _inputs(reading: Reading) -> int:
    return _WITH_BIAS if reading.has(_X_AND_W) else _X_AND_W


@reader("Conv", 1, 11, 22)
def read_conv(reading: Reading) -> Node | Host:
    """Read a convolution; the kernel is the weights' own."""
    kernel = reading.shape(1)[2:]
    if not kernel:
        return Host("the shape of the weights is not known")
    area = window(reading, kernel)
    return ops.Conv(
        **reading.fields(_inputs(reading)),
        kernel=kernel,
        stride=area.stride,
        dilation=area.dilation,
        pads=area.pads,
        groups=reading.attributes.integer("group", 1),
    )


@reader("ConvTranspose", 1, 11, 22)
def read_conv_transpose(reading: Reading) -> Node | Host:
    """Read a transposed convolution; output_shape and auto_pad become explicit pads."""
    kernel = reading.shape(1)[2:]
    if not kernel:
        return Host("the shape of the weights is not known")
    held = reading.attributes
    area = window(reading, kernel)
    extra = held.integers("output_padding") or (0,) * len(kernel)
    mode = held.text("auto_pad", "NOTSET")
    pads = area.pads
    if "output_shape" in held or mode.startswith("SAME"):
        sizes = zip(
            reading.shape()[2:], reading.made()[2:], area.stride, area.extents, extra, strict=True
        )
        totals = tuple(s * (x - 1) + e + extent - y for x, y, s, extent, e in sizes)
        if min(totals) < 0:
            return Host(f"its output shape needs negative padding ({totals})")
        pads = split_pads(totals, mode)
    return ops.ConvTranspose(
        **reading.fields(_inputs(reading)),
        kernel=kernel,
        stride=area.stride,
        dilation=area.dilation,
        pads=pads,
        output_padding=extra,
        groups=held.integer("group", 1),
    )
