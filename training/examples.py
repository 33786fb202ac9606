"""Training data in memory, and the changes that images survive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import error, raise_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array, Int64
    from lowbitc.compiler.ir.graph import Graph

_CHANNELS = (1, 3, 4)
_IMAGE = 4
"""Dimensions of images: samples, channels, height and width in some order."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How samples vary from epoch to epoch; each change depends on seed, epoch and sample alone.

    ``flip`` mirrors every other image, left to right. ``shift`` moves images by up to so many
    pixels each way; edges are repeated.
    """

    flip: bool = False
    shift: int = 0
    seed: int = 0

    def __bool__(self) -> bool:
        """Say whether anything is changed at all."""
        return self.flip or self.shift > 0

    def vary(self, images: Array, rows: Int64, epoch: int) -> Array:
        """Return images [n, …] of some rows of the data, changed."""
        if not self:
            return images
        # Height is behind the channels, or in front of them.
        height = 1 if images.shape[1] in _CHANNELS or images.shape[3] not in _CHANNELS else 0
        found = np.empty_like(images)
        for index, row in enumerate(rows.tolist()):
            random = np.random.default_rng((self.seed, epoch, row))
            found[index] = self._one(images[index], height, random)
        return found

    def _one(self, image: Array, height: int, random: np.random.Generator) -> Array:
        if self.flip and random.random() < 0.5:  # noqa: PLR2004 - every other one
            image = np.flip(image, height + 1)
        if self.shift:
            for axis in (height, height + 1):
                by = int(random.integers(-self.shift, self.shift + 1))
                places: Int64 = np.arange(by, by + image.shape[axis], dtype=np.int64)
                image = np.take(image, np.clip(places, 0, image.shape[axis] - 1), axis)
        return image


@dataclass(frozen=True, slots=True)
class Examples:
    """Training data in memory: inputs by name, each [n, …], and labels [n] or None."""

    inputs: Mapping[str, Array]
    labels: Int64 | None
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Raise CompileError LB798 where what should be flipped or shifted is no image."""
        found = {name: array.shape[1:] for name, array in self.inputs.items()}
        if self.augmentation and any(len(shape) != _IMAGE - 1 for shape in found.values()):
            raise_errors(
                [
                    error(
                        "LB798",
                        "only images can be flipped or shifted",
                        found=", ".join(f"{name} of shape {s}" for name, s in found.items()),
                        allowed="samples of channels, height and width",
                        hint="train without --flip and --shift",
                    )
                ]
            )

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(next(iter(self.inputs.values())))

    def feeds(self, graph: Graph, rows: Int64, epoch: int) -> dict[str, Array]:
        """Return some rows as the graph takes them, as they are in an epoch."""
        return {
            name: np.reshape(
                self.augmentation.vary(array[rows], rows, epoch), (-1, *graph.shape(name)[1:])
            )
            for name, array in self.inputs.items()
        }

    def drawn(self, graph: Graph, times: int) -> dict[str, Array]:
        """Return all rows as they are in the first ``times`` epochs."""
        rows = np.arange(len(self))
        found = [self.feeds(graph, rows, epoch) for epoch in range(times)]
        return {name: np.concatenate([part[name] for part in found]) for name in self.inputs}
