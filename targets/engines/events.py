"""What is counted while a program runs: events, operations, memory traffic and hops.

A nonzero level is an event; a level 0 is none. docs/engines.md says what each count means.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class ProcessorCount:
    """Sums of one NP over all samples so far.

    ``hops`` are links between neighbours on the mesh that its messages crossed: events and partial
    sums that it sent, and what came to it from outside the mesh.
    """

    events_in: int = 0
    events_out: int = 0
    synaptic_ops: int = 0
    sram_read_bits: int = 0
    sram_write_bits: int = 0
    hops: int = 0


def _processors() -> dict[int, ProcessorCount]:
    return {}


@dataclass(slots=True)
class LayerCount:
    """Sums over all samples so far: levels that came in, events among them, and by NP.

    An event that several NPs of the layer read is one here, and one for each of them there.
    """

    levels: int = 0
    events: int = 0
    processors: dict[int, ProcessorCount] = field(default_factory=_processors)

    def of(self, processor: int) -> ProcessorCount:
        """Return the counter of an NP, a new one at first."""
        return self.processors.setdefault(processor, ProcessorCount())

    @property
    def events_out(self) -> int:
        """Events that the layer made."""
        return sum(p.events_out for p in self.processors.values())

    @property
    def synaptic_ops(self) -> int:
        """Weights that events met; in layers without weights, windows or operands."""
        return sum(p.synaptic_ops for p in self.processors.values())

    @property
    def sram_read_bits(self) -> int:
        """Bits that its NPs read from their memories."""
        return sum(p.sram_read_bits for p in self.processors.values())

    @property
    def sram_write_bits(self) -> int:
        """Bits that its NPs wrote to their memories."""
        return sum(p.sram_write_bits for p in self.processors.values())

    @property
    def hops(self) -> int:
        """Links of the mesh that its NPs' messages crossed."""
        return sum(p.hops for p in self.processors.values())

    @property
    def sparsity(self) -> float:
        """Share of the levels coming in that are 0."""
        return 1 - self.events / self.levels if self.levels else 0.0


def _layers() -> dict[str, LayerCount]:
    return {}


@dataclass(slots=True)
class Counts:
    """Counts by layer, over so many samples."""

    samples: int = 0
    layers: dict[str, LayerCount] = field(default_factory=_layers)

    def of(self, layer: str) -> LayerCount:
        """Return the counter of a layer, a new one at first."""
        return self.layers.setdefault(layer, LayerCount())
