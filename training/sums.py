"""Products of matrices in which every addition rounds to FP16 (1-6-9), chunk by chunk.

A long sum in few bits stops growing where what is added is less than half its last bit. So FP8
training (Wang et al., NeurIPS 2018) adds 64 products at a time, then those sums: the numbers added
are never far apart in size.

``define_product`` is the definition. ``multiply`` gives the same numbers, by the C extension where
it was built (``available``).
"""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lowbitc.training.formats import FP16

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float32

CHUNK = 64
"""Products in a chunk, as published."""

_COLUMNS = 16
_WORTH_A_THREAD = 1 << 22


def available() -> bool:
    """Tell whether the extension was built for this interpreter."""
    return importlib.util.find_spec("lowbitc.training._sums") is not None


def define_product(a: Tensor, b: Tensor, chunk: int) -> Tensor:
    """Return a · b of [M, K] and [K, N], by definition.

    Products and sums are FP16, rounded to the nearest number, ties to even; products of two FP8
    numbers need no rounding. Chunks are summed from the first product on, and their sums likewise;
    a ``chunk`` of 0 is all of K.
    """
    total = a.new_zeros(len(a), b.shape[1])
    length = len(b)
    chunk = chunk or length
    for start in range(0, length, chunk):
        part = torch.zeros_like(total)
        for k in range(start, min(start + chunk, length)):
            part = FP16.round(part + FP16.round(a[:, k : k + 1] * b[k]))
        total = FP16.round(total + part)
    return total


def multiply(a: Tensor, b: Tensor, chunk: int) -> Tensor:
    """Return what ``define_product`` returns; in float32 on the CPU by the extension."""
    plain = all(x.dtype is torch.float32 and x.device.type == "cpu" for x in (a, b))
    if not plain or not available():
        return define_product(a, b, chunk)
    out = a.new_empty(len(a), b.shape[1])
    arrays = [x.detach().contiguous().numpy() for x in (a, b, out)]
    multiply_arrays(arrays[0], arrays[1], arrays[2], chunk, torch.get_num_threads())
    return out


def multiply_arrays(
    a: Float32, b: Float32, out: Float32, chunk: int, threads: int = 1, *, generic: bool = False
) -> None:
    """Write the product of [M, K] and [K, N] to [M, N] by the extension.

    Threads share the columns, so their number changes nothing; ``generic`` leaves this CPU's vector
    instructions unused.
    """
    from lowbitc.training import _sums  # noqa: PLC0415 - the extension is optional

    length, columns = b.shape
    threads = max(1, min(threads, len(a) * length * columns // _WORTH_A_THREAD))
    width = -(-columns // (threads * _COLUMNS)) * _COLUMNS
    spans = [(first, min(first + width, columns)) for first in range(0, columns, width or 1)]

    def run(span: tuple[int, int]) -> None:
        _sums.multiply(a, b, out, chunk or max(length, 1), *span, generic)

    if len(spans) == 1:
        run(spans[0])
        return
    with ThreadPoolExecutor(len(spans)) as pool:
        list(pool.map(run, spans))
