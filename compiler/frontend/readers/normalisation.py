"""Read BatchNormalization and Softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lowbitc.compiler.frontend.reading import Host, reader
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.frontend.reading import Reading
    from lowbitc.compiler.ir.node import Node

_INPUTS = 5
_AXIS_IS_ONE = 13
"""From this opset on, Softmax works along one axis; before, over all from it on."""


@reader("BatchNormalization", 7, 9, 14, 15)
def read_batch_norm(reading: Reading) -> Node | Host:
    """Read an inference batch normalisation (training mode was refused before)."""
    if not reading.attributes.integer("spatial", 1):
        return Host("it normalises each element by itself (spatial=0)")
    if len({reading.shape(place) for place in range(1, _INPUTS)}) > 1:
        return Host("its statistics have several shapes")
    return ops.BatchNorm(
        **reading.fields(_INPUTS), epsilon=reading.attributes.number("epsilon", 1e-5)
    )


@reader("Softmax", 1, 11)
def read_softmax_from_axis(reading: Reading) -> Node | Host:
    """Read the older Softmax, over all dimensions from axis on."""
    axis = reading.axis(1)
    together = math.prod(reading.shape()[axis + 1 :]) > 1
    return ops.Softmax(**reading.fields(), axis=axis, coerce=together)


@reader("Softmax", _AXIS_IS_ONE)
def read_softmax(reading: Reading) -> Node | Host:
    """Read the newer Softmax, along one axis."""
    return ops.Softmax(**reading.fields(), axis=reading.axis(-1))
