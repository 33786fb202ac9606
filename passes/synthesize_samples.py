"""Make calibration images for a network that came without any.

Images are dead leaves: shapes of random size, place and colour that cover each other, which have
the edges and the spectrum of photographs. Which range of numbers the network takes is found out by
trying the usual ones: the right one is that under which its activations come nearest to its own
batch-norm statistics (as in data-free quantization, arXiv 1906.04721). Where those were folded
before, nothing tells the range, and no images are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import F32
from lowbitc.compiler.execute import FloatSession

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array, Float32, Float64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.passes.propagate_moments import Moments

COUNT = 128
_TRIED_ON = 8
_SEED = 20
_IMAGE_RANK = 4
_MOST_CHANNELS = 4
_SMALLEST, _LARGEST = 0.03, 0.5
_ROUND = 0.5
_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers that stand for black and white."""

    black: float
    white: float

    def __str__(self) -> str:
        """Spell for a message."""
        return f"{self.black:g} to {self.white:g}"


RANGES = (Range(0, 1), Range(-1, 1), Range(0, 255), Range(-128, 127), Range(-2, 2.5))


@dataclass(frozen=True, slots=True, eq=False)
class Synthetic:
    """Images [n, C, H, W] for the one input of a network, and the range that was found."""

    value: str
    images: Float32
    span: Range


def synthesize_samples(graph: Graph, known: Mapping[str, Moments]) -> Synthetic | None:
    """Return images for an imported float graph; None where its input is no image.

    ``known`` are moments of values that batch normalisation makes; None without any.
    """
    if len(graph.inputs) != 1 or not known:
        return None
    (value,) = graph.inputs
    shape = graph.shape(value)
    if len(shape) != _IMAGE_RANK or not 1 <= shape[1] <= _MOST_CHANNELS:
        return None
    if shape[0] != 1 or graph.tensor(value).element != F32:
        return None
    grey = dead_leaves(COUNT, shape[1], shape[2], shape[3])
    session = FloatSession(graph, tuple(known), threads=1)
    gaps: list[float] = []
    for span in RANGES:
        sums = {v: np.zeros((2, m.mean.size)) for v, m in known.items()}
        for image in grey[:_TRIED_ON]:
            made = session.arrays({value: _spread(image[np.newaxis], span)})
            for name in known:
                sums[name] += _channel_means(made[name])
        gaps.append(float(np.mean([_distance(known[v], sums[v] / _TRIED_ON) for v in known])))
    best = RANGES[int(np.argmin(gaps))]
    return Synthetic(value, _spread(grey, best), best)


def dead_leaves(count: int, channels: int, height: int, width: int) -> Float32:
    """Return images [n, C, H, W] in 0..1, the same each time."""
    random = np.random.default_rng(_SEED)
    y, x = (np.arange(size, dtype=np.float32) / max(height, width) for size in (height, width))
    images = np.empty((count, channels, height, width), np.float32)
    for image in images:
        contrast, middle = random.uniform(0.3, 1.0), random.uniform(0.3, 0.7)
        image[:] = _colour(random, channels, contrast, middle)
        for _ in range(int(random.integers(20, 120))):
            # Radii fall off as r^-3, as the sizes of things seen from any distance do.
            ends = _SMALLEST**-2, _LARGEST**-2
            radius = (ends[0] + random.uniform() * (ends[1] - ends[0])) ** -0.5
            across = np.abs(x - random.uniform(0, width / max(height, width)))
            down = np.abs(y - random.uniform(0, height / max(height, width)))
            across *= random.uniform(0.5, 2.0)
            columns, rows = np.flatnonzero(across < radius), np.flatnonzero(down < radius)
            round_one, slope = random.uniform() < _ROUND, random.uniform(-0.3, 0.3)
            colour = _colour(random, channels, contrast, middle)
            if not (columns.size and rows.size):
                continue
            across, down = across[columns], down[rows, np.newaxis]
            place = image[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            inside = np.hypot(across, down) < radius if round_one else np.True_
            np.copyto(place, colour * (1 + slope * (down + across)), where=inside)
        image[:] += random.normal(0, random.uniform(0, 0.04), image.shape)
    return np.clip(images, 0, 1)


def _colour(random: np.random.Generator, channels: int, contrast: float, middle: float) -> Float32:
    """Return a colour [C, 1, 1] whose channels go mostly together."""
    light = middle + contrast * random.uniform(-0.6, 0.6)
    tint = random.normal(0, 0.12, channels) * contrast
    return np.clip(light + tint, 0, 1).astype(np.float32)[:, np.newaxis, np.newaxis]


def _spread(images: Float32, span: Range) -> Float32:
    return np.asarray(images * np.float32(span.white - span.black) + np.float32(span.black))


def _channel_means(array: Array) -> Float64:
    """Return, by channel, the means of x and of x²."""
    rows = np.moveaxis(np.asarray(array, np.float64), 1, 0).reshape(array.shape[1], -1)
    return np.stack([rows.mean(axis=1), (rows**2).mean(axis=1)])


def _distance(known: Moments, sums: Float64) -> float:
    """Return the mean of both divergences between Gaussians, each limited."""
    mean, deviation = sums[0], np.sqrt(np.maximum(sums[1] - sums[0] ** 2, 0))
    least = _LEAST_DEVIATION * float(np.abs(known.deviation).max() or 1.0)
    one, other = (np.maximum(d, least) ** 2 for d in (known.deviation, deviation))
    gap = (known.mean - mean) ** 2
    both = ((one + gap) / other + (other + gap) / one - 2) / 4
    return float(np.minimum(both, 10.0).mean())
