"""The shape of one entry of the catalogue of codes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """What a diagnostic code means; ``lowbitc explain`` and the docs page print it.

    ``what`` happened, ``why`` it is refused or reported, and the ``remedy``.
    """

    code: str
    title: str
    what: str
    why: str
    remedy: str
