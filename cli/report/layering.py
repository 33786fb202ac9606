"""Lay a graph out in layers from top to bottom: ranks, order within them, places.

Ranks are longest paths. An edge over several ranks runs through a dummy in each, so that it passes
between boxes; orders are improved by barycenters (Sugiyama, Tagawa and Toda 1981), and places by
pulling each box toward the middle of its neighbours without letting two overlap.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SWEEPS = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """Where boxes are: ``x`` is the middle of a box, in widths of one, ``rank`` its row.

    ``routes`` are, by edge, the places (x, rank) that it passes, from box to box.
    """

    x: tuple[float, ...]
    rank: tuple[int, ...]
    routes: tuple[tuple[tuple[float, int], ...], ...]
    left: float
    right: float
    ranks: int


def lay_out(count: int, edges: Sequence[tuple[int, int]], thin: float = 0.35) -> Layout:
    """Place ``count`` boxes whose edges all lead to a later one; ``thin`` is a dummy's width."""
    rank = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        rank[target] = max(rank[target], rank[source] + 1)
    # An input that is read late stands just above its first reader.
    for index in range(count):
        after = [rank[t] for s, t in edges if s == index]
        before = any(t == index for _, t in edges)
        if after and not before:
            rank[index] = min(after) - 1
    places = _Places(rank, [1.0] * count, thin)
    routes = [places.route(source, target) for source, target in edges]
    places.settle()
    at = places.x
    return Layout(
        x=tuple(at[:count]),
        rank=tuple(rank),
        routes=tuple(tuple((at[i], places.rank[i]) for i in route) for route in routes),
        left=min((x - w / 2 for x, w in zip(at, places.width, strict=True)), default=0.0),
        right=max((x + w / 2 for x, w in zip(at, places.width, strict=True)), default=1.0),
        ranks=max(rank, default=-1) + 1,
    )


class _Places:
    """Boxes and dummies: their ranks, widths, neighbours, and where they are so far."""

    def __init__(self, rank: list[int], width: list[float], thin: float) -> None:
        self.rank = list(rank)
        self.width = list(width)
        self.thin = thin
        self.above: list[list[int]] = [[] for _ in rank]
        self.below: list[list[int]] = [[] for _ in rank]
        self.x: list[float] = []

    def route(self, source: int, target: int) -> list[int]:
        """Put dummies between two boxes, and return all that the edge passes."""
        found = [source]
        for level in range(self.rank[source] + 1, self.rank[target]):
            self.rank.append(level)
            self.width.append(self.thin)
            self.above.append([])
            self.below.append([])
            found.append(len(self.rank) - 1)
        found.append(target)
        for a, b in itertools.pairwise(found):
            self.below[a].append(b)
            self.above[b].append(a)
        return found

    def settle(self) -> None:
        """Choose orders, then places."""
        rows: list[list[int]] = [[] for _ in range(max(self.rank, default=-1) + 1)]
        for index, level in enumerate(self.rank):
            rows[level].append(index)
        self.x = [0.0] * len(self.rank)
        for row in rows:
            self._spread(row, [0.0] * len(row))
        for sweep in range(_SWEEPS):
            down = sweep % 2 == 0
            near = self.above if down else self.below
            for row in rows if down else reversed(rows):
                wanted = {i: self._middle(near[i], self.x[i]) for i in row}
                row.sort(key=lambda i: (wanted[i], self.width[i], i))
                self._spread(row, [wanted[i] for i in row])

    def _middle(self, near: list[int], default: float) -> float:
        return sum(self.x[i] for i in near) / len(near) if near else default

    def _spread(self, row: list[int], wanted: list[float]) -> None:
        """Bring a row as near to where it wants to be as its order and widths allow."""
        blocks: list[tuple[float, int, float]] = []  # mean offset, members, wanted sum
        offset = 0.0
        offsets: list[float] = []
        for place, index in enumerate(row):
            if place:
                offset += (self.width[row[place - 1]] + self.width[index]) / 2
            offsets.append(offset)
            # Pool adjacent violators: the least squares fit of a rising sequence.
            total, members = wanted[place] - offset, 1
            while blocks and blocks[-1][0] >= total / members:
                _, count, held = blocks.pop()
                total, members = total + held, members + count
            blocks.append((total / members, members, total))
        start = 0
        for mean, members, _ in blocks:
            for place in range(start, start + members):
                self.x[row[place]] = mean + offsets[place]
            start += members
