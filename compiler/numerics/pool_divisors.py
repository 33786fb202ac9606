"""Average pools whose padding does not count: one divisor for windows of different sizes.

A window at the border holds fewer levels than one inside. Its sum is multiplied by a whole number
that belongs to its place, so that all sums can be divided by one number in the output stage: with
n_i levels in window i along an axis and L the least common multiple of all n_i, the sum of window
i times L / n_i is L times its mean, exactly. Axes multiply.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lowbitc.compiler.elements import Int64
    from lowbitc.compiler.ir.ops import AveragePool
    from lowbitc.compiler.ir.quantized import QAveragePool


def pool_divisor(
    node: AveragePool | QAveragePool, size: Sequence[int], outputs: Sequence[int]
) -> int:
    """Return what the sums of a pool are divided by; spatial sizes of its input and output."""
    if node.count_padding or not any(node.pads):
        return math.prod(node.kernel)
    return math.prod(math.lcm(*held) for held in _held(node, size, outputs))


def pool_factors(node: QAveragePool, size: Sequence[int], outputs: Sequence[int]) -> Int64:
    """Return what the sum at each place is multiplied by, [*outputs]."""
    factors = np.ones((), np.int64)
    if node.count_padding or not any(node.pads):
        return np.broadcast_to(factors, tuple(outputs))
    for held in _held(node, size, outputs):
        common = math.lcm(*held)
        axis = np.array([common // n for n in held], np.int64)
        factors = np.multiply.outer(factors, axis)
    return factors


def _held(
    node: AveragePool | QAveragePool, size: Sequence[int], outputs: Sequence[int]
) -> Iterator[list[int]]:
    """Yield, axis by axis, how many levels each window holds, at least 1."""
    for n, out, k, s, begin in zip(
        size, outputs, node.kernel, node.stride, node.pads[: len(node.kernel)], strict=True
    ):
        starts = [i * s - begin for i in range(out)]
        yield [max(min(start + k, n) - max(start, 0), 1) for start in starts]
