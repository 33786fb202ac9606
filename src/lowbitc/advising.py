"""Say which layers lost most in a compilation, and what to try: from what the passes measured."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.bits import WIDTHS, LayerBits
from lowbitc.compiler.manager import LayerError, Measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compilation import Compilation
    from lowbitc.targets.container import Json

_LEAST = 0.01
"""Relative squared errors below this (20 dB) are not worth a word."""
_MOST = 5
_FULL = 8


@dataclass(frozen=True, slots=True)
class Advice:
    """A layer that lost much: ``error`` is squared error over power, of ``measured``.

    ``entry`` is what to put into lowbitc.toml, None where more bits do not help.
    """

    layer: str
    measured: Measured
    bits: int
    error: float
    entry: LayerBits | None
    attempt: str

    def as_json(self) -> dict[str, Json]:
        """Return plain dictionaries, lists, numbers and texts."""
        return {
            "layer": self.layer,
            "measured": self.measured.value,
            "bits": self.bits,
            "error": self.error,
            "try": self.attempt,
        }


def advise(made: Compilation) -> tuple[Advice, ...]:
    """Return the layers with the largest errors, at most five, the largest first.

    An error is of the layer by itself: how much of it reaches the outputs is another question,
    which ``lowbitc compare`` and ``--bits auto`` answer.
    """
    held = {node.name for node in made.graph.nodes}
    found = [e for e in made.errors if e.error >= _LEAST and e.layer in held]
    worst = sorted(found, key=lambda e: (-e.error, e.layer))[:_MOST]
    return tuple(_advice(error) for error in worst)


def entries(advices: Sequence[Advice]) -> tuple[LayerBits, ...]:
    """Return the entries of a lowbitc.toml that give the layers more bits, one a layer."""
    merged: dict[str, LayerBits] = {}
    for entry in (a.entry for a in advices if a.entry is not None):
        before = merged.get(entry.match, entry)
        merged[entry.match] = LayerBits(
            entry.match,
            entry.weights or before.weights,
            entry.activations or before.activations,
        )
    return tuple(merged.values())


def _advice(error: LayerError) -> Advice:
    entry: LayerBits | None = None
    if error.bits >= _FULL:
        attempt = (
            "more calibration samples, or host = true"
            if error.measured is Measured.LEVELS
            else "host = true: 8 bits are all there is"
        )
    elif error.measured is Measured.LEVELS:
        width = _next(error.bits)
        entry = LayerBits(glob.escape(error.layer), activations=width)
        attempt = f"activations = {width}"
    else:
        width = _next(error.bits)
        entry = LayerBits(glob.escape(error.layer), weights=width)
        attempt = f"weights = {width}"
    return Advice(error.layer, error.measured, error.bits, error.error, entry, attempt)


def _next(width: int) -> int:
    return next(w for w in WIDTHS if w > width)
