"""Read Upsample and Resize where they repeat elements a whole number of times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.frontend.reading import Host, reader
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Int64
    from lowbitc.compiler.frontend.reading import Reading
    from lowbitc.compiler.ir.node import Node

_SCALES, _SIZES = 2, 3
_NOT_REPEATED = "it does not repeat elements a whole number of times"


@reader("Upsample", 7, 9)
@reader("Resize", 10)
def read_upsample(reading: Reading) -> Node | Host:
    """Read Upsample, and Resize of opset 10, which map i to ⌊i / scale⌋."""
    scales = reading.attributes.numbers("scales")
    if scales is None:
        found = reading.constant(1)
        scales = None if found is None else tuple(float(s) for s in found.ravel().tolist())
    return _upsample(reading, "asymmetric", "floor", scales)


@reader("Resize", 11, 13, 18, 19)
def read_resize(reading: Reading) -> Node | Host:
    """Read Resize where its coordinates and rounding give x[i // f]."""
    held = reading.attributes
    if "axes" in held or held.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        whole = _factors(reading)
        scales = None if whole is None else tuple(float(f) for f in whole)
    else:
        found = reading.constant(_SCALES)
        scales = None if found is None else tuple(float(s) for s in found.ravel().tolist())
    return _upsample(
        reading,
        held.text("coordinate_transformation_mode", "half_pixel"),
        held.text("nearest_mode", "round_prefer_floor"),
        scales or None,
    )


def _factors(reading: Reading) -> tuple[int, ...] | None:
    """Return by how much each dimension grows; None where that is no whole number."""
    pairs = list(zip(reading.shape(), reading.made(), strict=True))
    if any(before == 0 or after % before for before, after in pairs):
        return None
    return tuple(after // before for before, after in pairs)


def _upsample(
    reading: Reading, coordinates: str, rounding: str, scales: tuple[float, ...] | None
) -> Node | Host:
    factors = _factors(reading)
    if any(reading.has(place) and reading.constant(place) is None for place in (_SCALES, _SIZES)):
        return Host("its output size is computed at run time")
    if factors is None or (scales is not None and scales != tuple(float(f) for f in factors)):
        return Host(_NOT_REPEATED)
    if all(factor == 1 for factor in factors):
        return ops.Identity(**reading.fields())
    mode = reading.attributes.text("mode", "nearest")
    if mode != "nearest":
        return Host(f"it interpolates ({mode})")
    for size, factor in zip(reading.shape(), factors, strict=True):
        wanted = np.arange(size * factor, dtype=np.int64) // factor
        found = _nearest(size, factor, coordinates, rounding)
        if found is None or not np.array_equal(found, wanted):
            return Host(f"{coordinates} with {rounding} does not repeat every element equally")
    return ops.Upsample(**reading.fields(), factors=factors)


def _nearest(size: int, factor: int, coordinates: str, rounding: str) -> Int64 | None:
    """Return which element every output copies, in exact integers; None for unknown modes."""
    out = np.arange(size * factor, dtype=np.int64)
    # Coordinates in the input, as numerator over denominator.
    if coordinates == "asymmetric":
        numerator, denominator = out, factor
    elif coordinates in {"half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"}:
        numerator, denominator = 2 * out + 1 - factor, 2 * factor
    elif coordinates == "tf_half_pixel_for_nn":
        numerator, denominator = 2 * out + 1, 2 * factor
    elif coordinates == "align_corners":
        numerator, denominator = out * (size - 1), max(size * factor - 1, 1)
    else:
        return None
    if rounding == "floor":
        found = numerator // denominator
    elif rounding == "ceil":
        found = -(-numerator // denominator)
    elif rounding == "round_prefer_floor":
        found = -((denominator - 2 * numerator) // (2 * denominator))
    elif rounding == "round_prefer_ceil":
        found = (2 * numerator + denominator) // (2 * denominator)
    else:
        return None
    return np.asarray(np.clip(found, 0, size - 1), np.int64)
