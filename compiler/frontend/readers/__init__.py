"""Readers, one file a family of operators; importing this package registers them all."""

from __future__ import annotations

from lowbitc.compiler.frontend.readers import (
    activation,
    arithmetic,
    convolution,
    layout,
    normalisation,
    passthrough,
    pooling,
    quantizers,
    resize,
    slicing,
)

FAMILIES = (
    activation,
    arithmetic,
    convolution,
    layout,
    normalisation,
    passthrough,
    pooling,
    quantizers,
    resize,
    slicing,
)
