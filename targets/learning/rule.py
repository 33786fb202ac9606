"""The learning rule: which neuron learns an example, and which of its connections move.

Every neuron has the same number of connections to binary inputs; a connection is there or not. The
potential of a neuron is the number of its connections that are active. Of the neurons of an
example's class, one learns: it moves connections from inactive to active inputs. docs/learning.md
describes the rule, which follows the published parameters of BrainChip's Akida.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Bools, Int32, Int64


@dataclass(frozen=True, slots=True)
class Plasticity:
    """How readily neurons learn.

    A neuron that learned k examples moves the share max(minimum, initial · (1 − decay · k)) of its
    inactive connections. ``competition`` is how much a neuron that has learned keeps others from
    learning what is like it, 0 (only what it matches as well as ever) to 1 (everything).
    """

    initial: float = 1.0
    minimum: float = 0.1
    decay: float = 0.25
    competition: float = 0.0

    def share(self, learned: int) -> float:
        """Return the share of inactive connections that move."""
        return max(self.minimum, self.initial * (1 - self.decay * learned))


@dataclass(slots=True)
class Neurons:
    """The neurons of a layer, class after class, as many of each.

    ``connected`` is [neurons, inputs]. ``learned`` is how many examples each has learned, and
    ``thresholds`` the potential that it had for the last one, once learned. Neurons that learned
    nothing have no connections.
    """

    connected: Bools
    learned: Int32
    thresholds: Int32
    connections: int
    classes: int

    @property
    def per_class(self) -> int:
        """Neurons of one class."""
        return len(self.learned) // self.classes

    def learn(self, active: Bools, label: int, plasticity: Plasticity) -> None:
        """Let one neuron of the class learn an example, unless one knows it by heart."""
        start = label * self.per_class
        group = slice(start, start + self.per_class)
        potentials = np.count_nonzero(self.connected[group] & active, axis=1)
        winner = start + self._winner(group, potentials, plasticity)
        learned = int(self.learned[winner])
        if not learned:
            self.connected[winner] = first_connections(
                winner, self.connected.shape[1], self.connections
            )
        moved = move(self.connected[winner], active, plasticity.share(learned), (winner, learned))
        self.connected[winner] = moved
        self.learned[winner] = learned + 1
        self.thresholds[winner] = np.count_nonzero(moved & active)

    def _winner(self, group: slice, potentials: Int64, plasticity: Plasticity) -> int:
        """Return which neuron of a class learns.

        The best of those that claim the example; else the first that has learned nothing; where
        all have, the best. The lower index wins ties.
        """
        known = self.learned[group] > 0
        claims = self.thresholds[group] * (1 - plasticity.competition)
        claiming = known & (potentials >= claims)
        free = np.flatnonzero(~known)
        if claiming.any() or not len(free):
            eligible = claiming if claiming.any() else known
            return int(np.argmax(np.where(eligible, potentials, -1)))
        return int(free[0])


def first_connections(neuron: int, inputs: int, connections: int) -> Bools:
    """Return a neuron's connections before it learns: drawn at random, the same each time."""
    drawn = np.random.default_rng((neuron, 0)).permutation(inputs)[:connections]
    found = np.zeros(inputs, np.bool_)
    found[drawn] = True
    return found


def move(connected: Bools, active: Bools, share: float, seed: tuple[int, int]) -> Bools:
    """Move a share of the inactive connections to active inputs that have none."""
    inactive, wanted = np.flatnonzero(connected & ~active), np.flatnonzero(active & ~connected)
    count = min(math.ceil(share * len(inactive)), len(wanted))
    random = np.random.default_rng((*seed, 1))
    moved = connected.copy()
    moved[random.permutation(inactive)[:count]] = False
    moved[random.permutation(wanted)[:count]] = True
    return moved
