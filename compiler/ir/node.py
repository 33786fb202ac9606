"""The base of all operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from lowbitc.compiler.diagnostics import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An operator. Subclasses add typed attributes; there is no attribute dictionary.

    ``inputs`` and ``outputs`` name values; an optional input that is absent is "". ``name`` is
    unique in its graph. ``sources`` are the ONNX nodes it came from.
    """

    op: ClassVar[str]
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sources: tuple[Source, ...]
