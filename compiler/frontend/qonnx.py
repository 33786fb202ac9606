"""QONNX's quantizers: float in, float out, with the levels' bits as inputs and attributes.

Quant(x, scale, zeropt, bitwidth) = (round(min(max(x / scale + zeropt, low), high)) − zeropt) ·
scale, with low and high from ``signed`` and ``narrow``; BipolarQuant(x, scale) is scale where
x ≥ 0, else −scale. Brevitas exports them, and FINN and hls4ml read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lowbitc.compiler.elements import Array, Float64
    from lowbitc.compiler.frontend.attributes import Attributes

DOMAINS = frozenset({"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general"})
OPERATORS = frozenset({"Quant", "IntQuant", "BipolarQuant", "Trunc"})
_MOST_BITS = 32


def _away(x: Float64) -> Float64:
    return np.copysign(np.ceil(np.abs(x)), x)


def _half_up(x: Float64) -> Float64:
    return np.copysign(np.floor(np.abs(x) + 0.5), x)


def _half_down(x: Float64) -> Float64:
    return np.copysign(np.ceil(np.abs(x) - 0.5), x)


_ROUNDING: Mapping[str, Callable[[Float64], Float64]] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": _away,
    "ROUND_TO_ZERO": np.trunc,
    "DOWN": np.trunc,
    "HALF_UP": _half_up,
    "HALF_DOWN": _half_down,
}
HALF_EVEN = frozenset({"ROUND", "HALF_EVEN"})


def is_qonnx(domain: str, op_type: str) -> bool:
    """Whether a node is one of QONNX's quantizers."""
    return domain in DOMAINS and op_type in OPERATORS


def bounds(held: Attributes, bits: int) -> tuple[int, int]:
    """Return the least and the greatest level of a Quant."""
    narrow = held.integer("narrow", 0)
    if held.integer("signed", 1):
        return -(1 << (bits - 1)) + narrow, (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1 - narrow


def rounding_mode(held: Attributes) -> str:
    """Return how a Quant rounds, in capitals."""
    return held.text("rounding_mode", "ROUND").upper()


def evaluate(op_type: str, args: Sequence[Array], held: Attributes) -> Array | None:
    """Return what a quantizer makes of constants; None for what is not known here."""
    x, scale = (np.asarray(a, np.float64) for a in args[:2])
    if op_type == "BipolarQuant":
        return np.asarray(np.where(x >= 0, scale, -scale), np.float32)
    mode = _ROUNDING.get(rounding_mode(held))
    if op_type == "Trunc" or mode is None or len(args) != 4:  # noqa: PLR2004 - x, s, z, bits
        return None
    zero, bits = np.asarray(args[2], np.float64), int(np.asarray(args[3]).max())
    if not 1 <= bits <= _MOST_BITS:
        return None
    low, high = bounds(held, bits)
    levels = mode(np.clip(x / scale + zero, low, high)) - zero
    # As float32 multiplies: the levels are told from the products again.
    return levels.astype(np.float32) * scale.astype(np.float32)
