"""From what each width of each layer costs and saves: a row of mixes, from the most bits down.

Each layer's weights and activations are a choice among widths. Of each choice only the widths on
the lower hull of (saved, lost) count; their steps, in order of loss per saving, are the greedy path
of the multiple-choice knapsack, whose every prefix is the best mix for what it saves.
"""

from __future__ import annotations

import dataclasses
import enum
import glob
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lowbitc.compiler.bits import LayerBits
from lowbitc.passes.measure_sensitivity import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lowbitc.compiler.bits import Bits
    from lowbitc.passes.measure_sensitivity import Sensitivity

FULL = 8
"""Bits of the weights that a synaptic operation's energy is given for."""


class Goal(enum.Enum):
    """What the mixes of a path save most of, for what they lose."""

    BOTH = "size and energy"
    SIZE = "size"
    ENERGY = "energy"


@dataclass(frozen=True, slots=True)
class Saving:
    """Bytes and dynamic energy a frame (J) that a width saves against the widest."""

    size_bytes: float
    energy_j: float


@dataclass(frozen=True, slots=True)
class Option:
    """A width of one layer's weights or activations, with what it costs and saves."""

    lost: Sensitivity
    saved: Saving


def _nothing() -> dict[tuple[str, Part], int]:
    return {}


@dataclass(frozen=True, slots=True)
class Mix:
    """Widths by layer and part; what is not there has the most bits that the target holds.

    ``divergence`` and ``drop`` are the sums of what each width costs alone.
    """

    widths: Mapping[tuple[str, Part], int] = field(default_factory=_nothing)
    divergence: float = 0.0
    drop: float = 0.0

    @property
    def narrowed(self) -> int:
        """Number of layers with anything narrower than the target holds."""
        return len({layer for layer, _ in self.widths})

    def layers(self, order: Sequence[str]) -> tuple[LayerBits, ...]:
        """Return one entry a layer that has narrower parts, in the given order of layers."""
        names = {layer for layer, _ in self.widths}
        return tuple(
            LayerBits(
                glob.escape(name),
                self.widths.get((name, Part.WEIGHTS)),
                self.widths.get((name, Part.ACTIVATIONS)),
            )
            for name in order
            if name in names
        )

    def bits(self, order: Sequence[str], widest: Bits) -> Bits:
        """Return the bits of the network, where ``widest`` are those of what is not there."""
        return dataclasses.replace(widest, layers=(*widest.layers, *self.layers(order)))


def find_path(options: Iterable[Option], whole: Saving, goal: Goal) -> tuple[Mix, ...]:
    """Return mixes, each one step beyond the one before; the first has the most bits everywhere.

    ``whole`` are size and energy of that one, by which savings are weighed.
    """
    choices: dict[tuple[str, Part], list[tuple[float, Option]]] = {}
    for option in options:
        key = option.lost.layer, option.lost.part
        choices.setdefault(key, []).append((_worth(option.saved, whole, goal), option))
    steps = [
        (slope, order, key, option)
        for order, (key, held) in enumerate(choices.items())
        for slope, option in _hull(held)
    ]
    # Within a choice slopes rise, so that its steps stay in order; ties go by order of layers.
    steps.sort(key=lambda step: step[:2])
    path = [Mix()]
    lost: dict[tuple[str, Part], Sensitivity] = {}
    for _, _, key, option in steps:
        lost[key] = option.lost
        path.append(
            Mix(
                {k: s.width for k, s in lost.items()},
                sum(s.divergence for s in lost.values()),
                sum(s.drop for s in lost.values()),
            )
        )
    return tuple(path)


def _worth(saved: Saving, whole: Saving, goal: Goal) -> float:
    size = saved.size_bytes / whole.size_bytes if whole.size_bytes else 0.0
    energy = saved.energy_j / whole.energy_j if whole.energy_j else 0.0
    if goal is Goal.SIZE:
        return size
    return energy if goal is Goal.ENERGY else size + energy


def _hull(held: Sequence[tuple[float, Option]]) -> Iterator[tuple[float, Option]]:
    """Yield the widths worth taking in order, each with its loss per saving over the last."""
    saved, lost = 0.0, 0.0
    left = sorted(held, key=lambda pair: -pair[1].lost.width)
    while left:
        slopes = [
            (max(option.lost.divergence - lost, 0.0) / (worth - saved), place)
            for place, (worth, option) in enumerate(left)
            if worth > saved
        ]
        if not slopes:
            return
        # Of equal slopes the narrower width, which saves more.
        slope, place = min(slopes, key=lambda pair: (pair[0], -pair[1]))
        worth, option = left[place]
        yield slope, option
        saved, lost = worth, max(option.lost.divergence, lost)
        left = left[place + 1 :]
