"""Read activation functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.frontend.reading import Host, reader
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.frontend.reading import Reading
    from lowbitc.compiler.ir.node import Node

_LOW, _HIGH = 1, 2


_LARGEST = float(np.finfo(np.float32).max)
"""With it and its negative, older exporters spell "no bound"."""


def _clamp(reading: Reading, low: float, high: float) -> Node:
    return ops.Clamp(
        **reading.fields(),
        low=-math.inf if low <= -_LARGEST else low,
        high=math.inf if high >= _LARGEST else high,
    )


@reader("Relu", 6, 13, 14)
def read_relu(reading: Reading) -> Node | Host:
    """Read max(x, 0)."""
    return ops.Relu(**reading.fields())


@reader("Clip", 6)
def read_clip_of_attributes(reading: Reading) -> Node | Host:
    """Read a Clip whose bounds are attributes."""
    held = reading.attributes
    return _clamp(reading, held.number("min", -math.inf), held.number("max", math.inf))


@reader("Clip", 11, 12, 13)
def read_clip_of_inputs(reading: Reading) -> Node | Host:
    """Read a Clip whose bounds are inputs."""
    bounds = {_LOW: -math.inf, _HIGH: math.inf}
    for place in (_LOW, _HIGH):
        if reading.has(place):
            found = reading.constant(place)
            if found is None or found.size != 1:
                return Host("its bounds are computed at run time")
            bounds[place] = float(found.item())
    return _clamp(reading, bounds[_LOW], bounds[_HIGH])


@reader("LeakyRelu", 6, 16)
def read_leaky_relu(reading: Reading) -> Node | Host:
    """Read a leaky ReLU."""
    return ops.LeakyRelu(**reading.fields(), alpha=reading.attributes.number("alpha", 0.01))


@reader("PRelu", 7, 9, 16)
def read_prelu(reading: Reading) -> Node | Host:
    """Read a PReLU with one constant slope as a leaky ReLU."""
    slope = reading.constant(1)
    if slope is None or np.unique(slope).size != 1:
        return Host("its slope is not one constant")
    return ops.LeakyRelu(**reading.fields(), alpha=float(slope.ravel()[0].item()))


@reader("Elu", 6, 22)
def read_elu(reading: Reading) -> Node | Host:
    """Read an ELU."""
    return ops.Elu(**reading.fields(), alpha=reading.attributes.number("alpha", 1.0))


@reader("Sigmoid", 6, 13)
def read_sigmoid(reading: Reading) -> Node | Host:
    """Read a sigmoid."""
    return ops.Sigmoid(**reading.fields())


@reader("Tanh", 6, 13)
def read_tanh(reading: Reading) -> Node | Host:
    """Read a hyperbolic tangent."""
    return ops.Tanh(**reading.fields())


@reader("Erf", 9, 13)
def read_erf(reading: Reading) -> Node | Host:
    """Read the error function."""
    return ops.Erf(**reading.fields())


@reader("Softplus", 1, 22)
def read_softplus(reading: Reading) -> Node | Host:
    """Read a softplus."""
    return ops.Softplus(**reading.fields())


@reader("HardSigmoid", 6, 22)
def read_hard_sigmoid(reading: Reading) -> Node | Host:
    """Read a hard sigmoid."""
    held = reading.attributes
    return ops.HardSigmoid(
        **reading.fields(), alpha=held.number("alpha", 0.2), beta=held.number("beta", 0.5)
    )


@reader("HardSwish", 14, 22)
def read_hard_swish(reading: Reading) -> Node | Host:
    """Read a hard swish."""
    return ops.HardSwish(**reading.fields())


@reader("Swish", 24)
def read_swish(reading: Reading) -> Node | Host:
    """Read x · sigmoid(alpha · x) where alpha is 1."""
    if reading.attributes.number("alpha", 1.0) != 1.0:
        return Host("its alpha is not 1")
    return ops.Silu(**reading.fields())


@reader("Gelu", 20)
def read_gelu(reading: Reading) -> Node | Host:
    """Read a GELU, exact or by tanh."""
    return ops.Gelu(
        **reading.fields(), tanh=reading.attributes.text("approximate", "none") == "tanh"
    )
