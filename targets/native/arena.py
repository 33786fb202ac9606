"""Where values lie in memory: those that are never alive together share it."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A value's size, and the first and last operator that touches it."""

    size_bytes: int
    first: int
    last: int


def place_values(lifetimes: list[Lifetime]) -> tuple[list[int], int]:
    """Return each value's offset and the total size, both in bytes a frame.

    Greedy by size: the largest value first, each at the lowest offset where no value that is
    alive at the same time lies.
    """
    order = sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i].size_bytes, i))
    offsets = [0] * len(lifetimes)
    placed: list[int] = []
    total = 0
    for i in order:
        value = lifetimes[i]
        size = _aligned(value.size_bytes)
        offset = 0
        busy = sorted(
            (offsets[j], _aligned(lifetimes[j].size_bytes))
            for j in placed
            if lifetimes[j].first <= value.last and value.first <= lifetimes[j].last
        )
        for start, length in busy:
            if start >= offset + size:
                break
            offset = max(offset, start + length)
        offsets[i] = offset
        placed.append(i)
        total = max(total, offset + size)
    return offsets, total


def _aligned(size_bytes: int) -> int:
    """Return the size rounded up to whole cache lines."""
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT
