"""Read what changes nothing at inference: Identity, Dropout, casts to the same type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.frontend.reading import Host, reader
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.frontend.reading import Reading
    from lowbitc.compiler.ir.node import Node

_TRAINING_MODE = 2


@reader("Identity", 1, 13, 14, 16, 19, 21, 23, 24, 25, any_type=True)
def read_identity(reading: Reading) -> Node | Host:
    """Read a copy."""
    return ops.Identity(**reading.fields())


@reader("Dropout", 7, 10, 12, 13, 22, any_type=True)
def read_dropout(reading: Reading) -> Node | Host:
    """Read a Dropout, which passes its input on at inference."""
    if reading.makes(1):
        return Host("it gives its mask as well")
    if reading.has(_TRAINING_MODE) and reading.constant(_TRAINING_MODE) is None:
        return Host("whether it drops anything is computed at run time")
    return ops.Identity(**reading.fields())


@reader("Cast", 6, 9, 13, 19, 21, 23, 24, 25, 28, any_type=True)
@reader("CastLike", 15, 19, 21, 23, 24, 25, any_type=True)
def read_cast(reading: Reading) -> Node | Host:
    """Read a cast from a type to itself."""
    before = reading.values.tensor(reading.inputs[0]).element
    after = reading.values.tensor(reading.outputs[0]).element
    if before != after:
        return Host(f"it casts {before.name} to {after.name}")
    return ops.Identity(**reading.fields())


@reader("Expand", 8, 13, any_type=True)
def read_expand(reading: Reading) -> Node | Host:
    """Read an Expand to the shape that the input has."""
    before = reading.values.tensor(reading.inputs[0])
    after = reading.values.tensor(reading.outputs[0])
    if not before.known or before.shape != after.shape:
        return Host("it repeats its input along an axis")
    return ops.Identity(**reading.fields())
