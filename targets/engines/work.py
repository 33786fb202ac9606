"""What an NP does for an event, and what that costs: fixed when a launch is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Int64
    from lowbitc.targets.engines.events import ProcessorCount
    from lowbitc.targets.placement.model import NeuralProcessor
    from lowbitc.targets.placement.reads import Box


@dataclass(frozen=True, slots=True)
class Widths:
    """Bits that an NP reads and writes in its memories: for an event, a use of it, and so on."""

    write_event: int = 0
    read_event: int = 0
    read_use: int = 0
    write_use: int = 0
    read_operation: int = 0
    read_output: int = 0


@dataclass(frozen=True, slots=True)
class Operand:
    """A box of a value that an NP reads; ``taps`` say how often a place is used.

    ``taps`` holds a vector a spatial dimension; it is empty where every event is used once.
    """

    value: str
    box: Box
    taps: tuple[Int64, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """What an NP did: events that came, uses of them, and events that it made."""

    events: int
    uses: int
    made: int


@dataclass(frozen=True, slots=True)
class Share:
    """One NP of a launch, and what its work costs.

    ``fan_out`` is the number of operations of one use; ``outputs`` are the sums or levels that it
    makes for one sample, ``made`` the box of the layer's output where they are levels.
    ``message_hops`` are the links that each of its messages crosses.
    """

    processor: NeuralProcessor
    layer: str
    operands: tuple[Operand, ...]
    output: str
    made: Box | None
    finishes: bool
    tiled: bool
    outputs: int
    fan_out: int
    widths: Widths
    message_hops: int

    def book(self, work: Work, samples: int, count: ProcessorCount) -> None:
        """Add what the NP did for so many samples."""
        outputs, operations = self.outputs * samples, work.uses * self.fan_out
        widths = self.widths
        count.events_in += work.events
        count.events_out += work.made
        count.synaptic_ops += operations
        count.sram_read_bits += work.events * widths.read_event + work.uses * widths.read_use
        count.sram_read_bits += operations * widths.read_operation + outputs * widths.read_output
        count.sram_write_bits += work.events * widths.write_event + work.uses * widths.write_use
        count.hops += (work.made if self.finishes else outputs) * self.message_hops


@dataclass(frozen=True, slots=True)
class Entry:
    """Messages from outside the mesh into a layer's NPs of one pass, and the links of each.

    They are the events in ``parts``: boxes of values; or so many partial ``sums`` a sample.
    """

    layer: str
    processor: int
    hops: int
    parts: tuple[Operand, ...] = ()
    sums: int = 0
