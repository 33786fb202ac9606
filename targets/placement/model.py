"""What a placement is: neural processors with their share of a layer, in passes over the chip."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

EXTERNAL = -1
"""As a route: to memory outside the mesh, from where a later pass or the CPU reads."""

Range = tuple[int, int]
"""Start and stop, as in ``range``."""


class Unit(enum.IntEnum):
    """What a block of a layer runs on; the value is that in an NP's image.

    STREAMED is an NP whose weights stay in memory outside the mesh and are read every frame.
    """

    NP = 0
    INPUT = 1
    STREAMED = 2


@dataclass(frozen=True, slots=True)
class NeuralProcessor:
    """One NP's share of one layer in one pass: its place on the mesh and its block of the layer.

    Where a mesh fuses layers, an NP has a share of each of them: all at its place.

    ``index`` counts over all passes. The block is ``channels`` of the output, summed over
    ``inputs`` (input channels of the layer, or of each of its groups), for output ``columns``.
    Where a layer's input channels are split, the NPs of one block of channels stand one after the
    other and hand their sums on; the last one runs the output stage. ``routes`` are ranges of
    indices of the NPs that get the levels, or (EXTERNAL, EXTERNAL). Sizes are in bytes.
    """

    index: int
    x: int
    y: int
    layer: str
    channels: Range
    inputs: Range
    columns: Range
    weight_bytes: int
    stage_bytes: int
    activation_bytes: int
    routes: tuple[Range, ...] = ()
    unit: Unit = Unit.NP


@dataclass(frozen=True, slots=True)
class Pass:
    """One configuration of the chip: ``processors`` is a range of NP indices.

    ``launches`` is the range of launches that have NPs in it. ``load_bytes`` are weights and
    constants that are written into the NPs when the pass starts; with more than one pass in a
    program that is once a frame. Weights that are streamed are not among them.
    ``spill_bytes`` are levels a frame that go to memory outside the mesh for a later pass.
    """

    index: int
    launches: Range
    processors: Range
    load_bytes: int
    spill_bytes: int


@dataclass(frozen=True, slots=True)
class Placement:
    """All NPs of a program and the passes that they belong to, in order."""

    processors: tuple[NeuralProcessor, ...]
    passes: tuple[Pass, ...]

    def of_layer(self) -> dict[str, tuple[NeuralProcessor, ...]]:
        """Map each layer that has NPs to them, in order of index."""
        found: dict[str, list[NeuralProcessor]] = {}
        for processor in self.processors:
            found.setdefault(processor.layer, []).append(processor)
        return {layer: tuple(held) for layer, held in found.items()}

    @property
    def most_processors(self) -> int:
        """NPs of the fullest pass, without the input unit."""
        return max(
            (places(self.processors[slice(*step.processors)]) for step in self.passes), default=0
        )

    @property
    def streamed_bytes(self) -> int:
        """Bytes of weights a frame that NPs read from memory outside the mesh."""
        return sum(p.weight_bytes for p in self.processors if p.unit is Unit.STREAMED)

    @property
    def reload_bytes(self) -> int:
        """Bytes that are loaded for every frame: 0 when all layers stay on the chip."""
        return sum(p.load_bytes for p in self.passes) if len(self.passes) > 1 else 0


NOWHERE = Placement((), ())
"""The placement of a graph that was not placed."""


def places(processors: Iterable[NeuralProcessor]) -> int:
    """Return the number of NPs that hold some shares of one pass, without the input unit."""
    return len({(p.x, p.y) for p in processors if p.unit is not Unit.INPUT})
