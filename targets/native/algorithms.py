"""Which convolution algorithm a layer runs, and the bounds that make it exact.

Every choice is proved from the layer's own weights and its input's range of levels: nothing
saturates or wraps that the result depends on.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Int8, Int64
    from lowbitc.targets.native.window import Window


_INT16_MIN, _INT16_MAX = -32768, 32767
_INT32_MAX = 2**31 - 1
_TILE_BYTES_PER_CYCLE = 6  # weights streamed from the last cache level
_MIN_WINOGRAD_CHANNELS = 16
_WINOGRAD_GAIN = 0.85  # its transforms eat the rest where a stride leaves little to gain
_MIN_WINOGRAD_SIZE = 4
_TILE = 16  # output channels of a panel
_STRASSEN_DEPTH = 64  # with fewer products, setting out takes what is saved
_STRASSEN_ROWS = 256  # with fewer, its additional weights cost more to read than they save
_MIN_CHUNK = 4  # below this many quads, widening int16 sums costs more than they save


class Algorithm(enum.IntEnum):
    """How the kernels compute a convolution's accumulators."""

    GEMM16 = 0
    GEMM8 = 1
    DEPTHWISE = 2
    WINOGRAD2 = 3
    WINOGRAD4 = 4
    WINOGRAD_STRIDED = 5
    STRASSEN = 6


_WINOGRAD = {
    1: {2: (Algorithm.WINOGRAD2, 4), 4: (Algorithm.WINOGRAD4, 64)},
    2: {2: (Algorithm.WINOGRAD_STRIDED, 1)},
}
"""By stride and output tile size: the algorithm, and how much headroom its sums need."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An algorithm, its parameters, and why it is exact.

    ``chunk`` is a number of quads (see ``safe_chunk``), or the rows from which Strassen's pays.
    """

    algorithm: Algorithm
    reason: str
    chunk: int = 1
    narrow: bool = False


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What the choice depends on besides weights: channels, groups, window and output size."""

    channels: int
    outputs: int
    height: int
    width: int
    groups: int
    window: Window


def accumulator_bounds(weights: Int8, lo: int, hi: int) -> tuple[Int64, Int64]:
    """Return each output channel's smallest and largest partial sum for levels in [lo, hi].

    Level 0 counts as possible, because padding is.
    """
    flat = weights.reshape(weights.shape[0], -1).astype(np.int64)
    positive = np.maximum(flat, 0).sum(axis=1)
    negative = np.minimum(flat, 0).sum(axis=1)
    low, high = min(lo, 0), max(hi, 0)
    return positive * low + negative * high, positive * high + negative * low


def choose_algorithm(
    shape: LayerShape,
    weights: Int8,
    levels: tuple[int, int],
    *,
    fast: bool,
    dot8: bool,
    batch: int,
) -> Choice:
    """Choose the fastest algorithm whose exactness follows from weights and levels.

    ``weights`` is [out, kh, kw, in / groups], ``levels`` the input's range; ``fast`` says that the
    path has SIMD kernels, ``dot8`` that it adds four 8-bit products to an int32 at once.
    """
    lo, hi = levels
    low, high = accumulator_bounds(weights, lo, hi)
    largest = int(max(-low.min(), high.max()))
    if shape.groups == shape.channels == shape.outputs and shape.groups > 1:
        narrow = fast and -int(low.min()) <= -_INT16_MIN and int(high.max()) <= _INT16_MAX
        reason = (
            f"sums stay within {int(low.min())}..{int(high.max())}, in int16"
            if narrow
            else "int16 pairs, int32 sums"
        )
        return Choice(Algorithm.DEPTHWISE, reason, narrow=narrow)
    if not fast:
        return Choice(Algorithm.GEMM16, "int16 pairs, int32 sums")
    winograd = _winograd(shape, largest, batch)
    if winograd is not None and shape.window.stride == (1, 1):
        return winograd
    if dot8:
        return Choice(Algorithm.GEMM8, "8-bit quads, int32 sums", chunk=2**30)
    chunk = safe_chunk(weights, lo, hi)
    if chunk > 0:
        reason = f"int16 sums of {chunk} quads cannot overflow for these weights"
        return Choice(Algorithm.GEMM8, reason, chunk=chunk)
    return winograd or _wide(shape, batch)


def safe_chunk(weights: Int8, lo: int, hi: int) -> int:
    """Return how many quads of products an int16 lane may sum without saturating.

    A lane sums one pair of each quad along K. Signed levels are offset by 128 to be unsigned. 0 if
    so few are safe that widening the sums would cost more than int16 saves.
    """
    flat = weights.reshape(weights.shape[0], -1)
    outputs, depth = flat.shape
    largest = max(hi, 0) if lo >= 0 else hi + 128
    quads = -(-depth // 4)
    padded = np.zeros((outputs, quads * 4), np.int32)
    padded[:, :depth] = flat
    lanes = padded.reshape(outputs, quads, 2, 2)
    positive = np.maximum(lanes, 0).sum(axis=3)
    negative = np.minimum(lanes, 0).sum(axis=3)
    best = 0
    chunk = _MIN_CHUNK
    while True:
        chunk = min(chunk, quads)
        starts = np.arange(0, quads, chunk)
        high = int(np.add.reduceat(positive, starts, axis=1).max()) * largest
        low = int(np.add.reduceat(negative, starts, axis=1).min()) * largest
        if high > _INT16_MAX or low < _INT16_MIN:
            return best
        best = chunk
        if chunk == quads:
            return best
        chunk += chunk // 2


def _winograd(shape: LayerShape, largest: int, batch: int) -> Choice | None:
    """Return Winograd's algorithm if it applies, is exact and pays."""
    window = shape.window
    stride = window.stride[0]
    applies = (
        window.kernel == (3, 3)
        and window.stride in {(1, 1), (2, 2)}
        and window.dilation == (1, 1)
        and shape.groups == 1
        and min(shape.channels, shape.outputs) >= _MIN_WINOGRAD_CHANNELS
        and min(shape.height, shape.width) >= _MIN_WINOGRAD_SIZE
    )
    if not applies:
        return None
    direct = _cost(9, batch * shape.height * shape.width)
    cost: dict[int, float] = {}
    for m, (_, headroom) in _WINOGRAD[stride].items():
        positions = ((m - 1) * stride + 3) ** 2
        tiles = -(-shape.height // m) * -(-shape.width // m)
        pays = _cost(positions, batch * tiles) < _WINOGRAD_GAIN * direct
        if headroom * largest <= _INT32_MAX and (pays or stride == 1):
            cost[m] = _cost(positions, batch * tiles)
    if not cost:
        return None
    m = min(cost, key=lambda tile: cost[tile])
    algorithm, headroom = _WINOGRAD[stride][m]
    strided = f", stride {stride}" if stride > 1 else ""
    return Choice(
        algorithm,
        f"Winograd F({m}x{m}, 3x3{strided}) modulo 2^32: {headroom} x {largest} stays below 2^31",
    )


def _wide(shape: LayerShape, batch: int) -> Choice:
    """Return the 16-bit products, by Strassen's algorithm where there is enough to halve.

    The sums of up to four levels, and of up to four weights, that it multiplies fit int16.
    """
    kernel = shape.window.kernel
    depth = shape.channels // shape.groups * kernel[0] * kernel[1]
    pays = (
        shape.groups == 1
        and depth % 4 == 0
        and depth >= _STRASSEN_DEPTH
        and shape.outputs >= 2 * _TILE
        and batch * shape.height * shape.width >= _STRASSEN_ROWS
    )
    if not pays:
        return Choice(Algorithm.GEMM16, "int16 pairs, int32 sums")
    return Choice(
        Algorithm.STRASSEN,
        "Strassen's 7 products of int16 pairs for 8, sums modulo 2^32",
        chunk=_STRASSEN_ROWS,
    )


def _cost(positions: int, rows: int) -> float:
    """Return what products and the weights' reading cost, per pair of channels."""
    return rows * positions / 32 + positions * 2 / _TILE_BYTES_PER_CYCLE
