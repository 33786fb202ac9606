"""Spell an affine map as a ScaleShift, the one node for maps that stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.diagnostics import Source
    from lowbitc.passes.affine import Affine
    from lowbitc.passes.edit import Edit


@dataclass(frozen=True, slots=True)
class Spelling:
    """Names for a ScaleShift: the node, what it reads, what it makes; and where it comes from."""

    name: str
    value: str
    output: str
    sources: tuple[Source, ...]


def goes_by_channel(edit: Edit, value: str, affine: Affine) -> bool:
    """Whether a ScaleShift of a value can do the map."""
    shape = edit.shape(value) or ()
    channels = shape[1] if len(shape) > 1 else 0
    return channels > 0 and affine.along(1, channels) is not None


def put_scale_shift(edit: Edit, spelling: Spelling, affine: Affine) -> None:
    """Put a ScaleShift that does the map, in place of the node of its name if there is one."""
    shape = edit.shape(spelling.value) or ()
    vectors = affine.along(1, shape[1]) if len(shape) > 1 else None
    if vectors is None:
        return
    scale, shift = (np.ascontiguousarray(v, np.float32) for v in vectors)
    name = spelling.name
    constants = edit.add_constant(f"{name}.scale", scale), edit.add_constant(f"{name}.shift", shift)
    node = ops.ScaleShift(
        name=name,
        inputs=(spelling.value, *constants),
        outputs=(spelling.output,),
        sources=spelling.sources,
    )
    edit.put(node, beside=edit.maker(spelling.value))
