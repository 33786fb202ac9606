"""The chip as placement sees it: its memories and where its neural processors stand."""

from __future__ import annotations

from dataclasses import dataclass

MODES = ("passes", "minimal", "fast")
"""As many passes as are needed, of the fewest NPs; or the fewest NPs in one pass; or one pass
with the NPs that are left given to the slowest layers."""


@dataclass(frozen=True, slots=True)
class Memory:
    """SRAM of one neural processor, and how layers are held in it.

    With ``whole_maps`` an NP holds its columns of the input in all rows, at most ``most_columns``
    of them (0: no bound), instead of the rows that its window spans. Without ``partial_sums`` a
    layer's inputs are not split. ``channel_bytes`` are the output stage's constants of a channel
    as the chip holds them, ``depthwise_bits`` the bits of a depthwise weight beside a pointwise
    one; 0: as they are packed in an NP's image.
    """

    weight_bytes: int
    activation_bytes: int
    whole_maps: bool = False
    most_columns: int = 0
    partial_sums: bool = True
    channel_bytes: int = 0
    depthwise_bits: int = 0


@dataclass(frozen=True, slots=True)
class Mesh:
    """The chip as placement sees it: NPs in ``width`` columns and ``height`` rows.

    No NP stands at the ``reserved`` places; the unit at ``input_unit`` runs the layer that reads
    an image. On a ``fused`` mesh the NPs of a convolution also run the depthwise convolution
    before it and the pool behind it. At most ``dense_processors`` NPs run dense layers (0: all
    may), and ``streaming_processors`` of them may read weights from memory outside the mesh.
    """

    width: int
    height: int
    memory: Memory
    reserved: tuple[tuple[int, int], ...] = ()
    input_unit: tuple[tuple[int, int], ...] = ()
    fused: bool = False
    dense_processors: int = 0
    streaming_processors: int = 0

    @property
    def processors(self) -> int:
        """Number of NPs."""
        return self.width * self.height - len(self.reserved)

    def positions(self) -> tuple[tuple[int, int], ...]:
        """Return x and y of all NPs in row-snake order: every second row runs backwards."""
        snake = (
            ((self.width - 1 - x if y % 2 else x), y)
            for y in range(self.height)
            for x in range(self.width)
        )
        return tuple(place for place in snake if place not in self.reserved)
