"""Read QONNX's quantizers of activations; those of weights are folded into constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.frontend.qonnx import HALF_EVEN, bounds, rounding_mode
from lowbitc.compiler.frontend.reading import Host, reader
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.frontend.reading import Reading
    from lowbitc.compiler.ir.node import Node

_SCALE, _ZERO, _BITS = 1, 2, 3


@reader("Quant", 0)
@reader("IntQuant", 0)
def read_quant(reading: Reading) -> Node | Host:
    """Read a quantizer with one constant scale that rounds half to even."""
    scale, zero, bits = (reading.constant(place) for place in (_SCALE, _ZERO, _BITS))
    if scale is None or zero is None or bits is None or {scale.size, zero.size, bits.size} != {1}:
        return Host("its scale, zero point and bits are not one constant each")
    mode = rounding_mode(reading.attributes)
    if mode not in HALF_EVEN:
        return Host(f"it rounds {mode}")
    shift, width = float(zero.item()), float(bits.item())
    if not shift.is_integer() or not width.is_integer() or not float(scale.item()) > 0:
        return Host("its scale is not positive, or its zero point or bits are no whole number")
    low, high = bounds(reading.attributes, int(width))
    return ops.FakeQuantize(
        **reading.fields(),
        scale=float(scale.item()),
        low=low - int(shift),
        high=high - int(shift),
    )


@reader("BipolarQuant", 0)
def read_bipolar(_reading: Reading) -> Node | Host:
    """Refuse an activation of two levels without a zero, which no level of the chip is."""
    return Host("its levels are −1 and 1, and level 0 of the chip is no event")


@reader("Trunc", 0)
def read_trunc(_reading: Reading) -> Node | Host:
    """Refuse a truncation: versions of QONNX do not agree on the scale of what it makes."""
    return Host("it truncates, to a scale on which versions of QONNX do not agree")
