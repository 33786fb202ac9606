"""Read pools and means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.frontend.readers.windows import Window, window
from lowbitc.compiler.frontend.reading import Host, reader
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.frontend.reading import Reading
    from lowbitc.compiler.ir.node import Node

_AXES_ARE_AN_INPUT = 18


def _rounds_up(reading: Reading, area: Window) -> bool:
    """Say whether ceil_mode gives another output size than rounding down."""
    if not reading.attributes.integer("ceil_mode", 0):
        return False
    rank = len(area.kernel)
    begins, ends = area.pads[:rank], area.pads[rank:]
    sizes = zip(reading.shape()[2:], begins, ends, area.extents, area.stride, strict=True)
    return reading.made()[2:] != tuple((n + a + b - e) // s + 1 for n, a, b, e, s in sizes)


@reader("MaxPool", 1, 8, 10, 11, 12, 22)
def read_max_pool(reading: Reading) -> Node | Host:
    """Read a maximum pool that gives values only."""
    if reading.makes(1):
        return Host("it gives the indices of the maxima as well")
    area = window(reading, reading.attributes.integers("kernel_shape") or ())
    return ops.MaxPool(
        **reading.fields(),
        kernel=area.kernel,
        stride=area.stride,
        dilation=area.dilation,
        pads=area.pads,
        ceil_mode=_rounds_up(reading, area),
    )


@reader("AveragePool", 7, 10, 11, 19, 22)
def read_average_pool(reading: Reading) -> Node | Host:
    """Read an average pool."""
    area = window(reading, reading.attributes.integers("kernel_shape") or ())
    # Without padding the flag says nothing, but for windows that overhang: runtimes disagree there.
    up = _rounds_up(reading, area)
    counts = (any(area.pads) or up) and bool(reading.attributes.integer("count_include_pad", 0))
    return ops.AveragePool(
        **reading.fields(),
        kernel=area.kernel,
        stride=area.stride,
        dilation=area.dilation,
        pads=area.pads,
        ceil_mode=up,
        count_padding=counts,
    )


@reader("GlobalAveragePool", 1, 22)
def read_global_average_pool(reading: Reading) -> Node | Host:
    """Read the mean over all spatial dimensions."""
    return ops.GlobalAveragePool(**reading.fields())


@reader("GlobalMaxPool", 1, 22)
def read_global_max_pool(reading: Reading) -> Node | Host:
    """Read the maximum over all spatial dimensions."""
    return ops.GlobalMaxPool(**reading.fields())


@reader("ReduceMean", 1, 11, 13, 18)
def read_reduce_mean(reading: Reading) -> Node | Host:
    """Read a mean; no axes are all axes, or none with noop_with_empty_axes."""
    held = reading.attributes
    axes = held.integers("axes")
    if reading.version >= _AXES_ARE_AN_INPUT and reading.has(1):
        axes = reading.integers(1)
        if axes is None:
            return Host("its axes are computed at run time")
    rank = len(reading.shape())
    if not axes:
        if held.integer("noop_with_empty_axes", 0):
            return ops.Identity(**reading.fields())
        axes = tuple(range(rank))
    return ops.ReduceMean(
        **reading.fields(),
        axes=tuple(sorted({axis % rank for axis in axes})) if rank else (),
        keepdims=bool(held.integer("keepdims", 1)),
    )
