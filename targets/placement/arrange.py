"""Give neural processors their places on the mesh, so that levels travel short ways.

Placing NPs is a quadratic assignment: the sum over pairs of traffic times distance. Starting from
the NPs in order along a snake, each NP in turn changes places with the one, or moves to the free
place, that shortens the sum most, until none does. The result depends on nothing but its input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compiler.elements import Int64

Place = tuple[int, int]
_SWEEPS = 6


def arrange(
    traffic: nx.DiGraph[int], places: Sequence[Place], fixed: Mapping[int, Place]
) -> dict[int, Place]:
    """Return a place for each node of ``traffic``, whose edges have the levels as ``weight``.

    Nodes of ``fixed`` keep theirs, which are beside ``places``.
    """
    free = sorted(node for node in traffic.nodes if node not in fixed)
    nodes = [*free, *sorted(fixed)]
    every = [*places, *(fixed[node] for node in nodes[len(free) :])]
    held = nx.to_numpy_array(traffic, nodelist=nodes, dtype=np.dtype(np.int64), weight="weight")
    weights = held + held.T
    np.fill_diagonal(weights, 0)
    xy = np.asarray(every, np.int64).reshape(-1, 2)
    distances = np.abs(xy[:, None, :] - xy[None, :, :]).sum(axis=2)
    at = np.asarray([*range(len(free)), *range(len(places), len(every))], np.int64)
    _improve(weights, distances, at, len(free), len(places))
    return {node: every[int(place)] for node, place in zip(nodes, at, strict=True)}


def _improve(weights: Int64, distances: Int64, at: Int64, movable: int, places: int) -> None:
    """Swap and move in place until a sweep changes nothing; only the first ``movable`` move."""
    costs = distances[:, at] @ weights
    """What each NP would cost at each place, the others where they are."""
    here = np.arange(movable)
    for _ in range(_SWEEPS):
        changed = False
        for a in range(movable):
            own = at[:movable]
            now = costs[own, here]
            swaps = costs[own, a] + costs[at[a], here] - now[a] - now
            swaps += 2 * weights[a, :movable] * distances[at[a], own]
            empty = np.setdiff1d(np.arange(places), own, assume_unique=True)
            moves = costs[empty, a] - now[a]
            b = int(swaps.argmin())
            best_move = int(moves.min()) if moves.size else 0
            if min(int(swaps[b]), best_move) >= 0:
                continue
            changed = True
            if best_move < swaps[b]:
                _move(weights, distances, at, costs, {a: int(empty[int(moves.argmin())])})
            else:
                _move(weights, distances, at, costs, {a: int(at[b]), b: int(at[a])})
        if not changed:
            return


def _move(weights: Int64, distances: Int64, at: Int64, costs: Int64, to: Mapping[int, int]) -> None:
    for node, place in to.items():
        moved = np.asarray(distances[:, place] - distances[:, at[node]], np.int64)
        np.add(costs, np.multiply.outer(moved, weights[node]), out=costs)
        at[node] = place
