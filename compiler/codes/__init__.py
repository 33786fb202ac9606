"""Catalogue of diagnostic codes, one file an area.

LB1xx reading (LB19x running float graphs), LB2xx target rules, LB3xx calibration,
LB4xx quantization (LB42x folding), LB5xx placement, LB6xx container, LB7xx data (LB74x running
programs, LB75x the gate), LB9xx internal.
"""

from __future__ import annotations

from lowbitc.compiler.codes import (
    calibration,
    comparison,
    container,
    data,
    execution,
    folding,
    gating,
    internal,
    learning,
    placement,
    program,
    quantization,
    reading,
    simulation,
    target,
    training,
)
from lowbitc.compiler.codes.code import Code

_AREAS = (
    reading,
    execution,
    target,
    training,
    calibration,
    quantization,
    placement,
    learning,
    container,
    program,
    data,
    gating,
    simulation,
    comparison,
    folding,
    internal,
)

CATALOGUE: dict[str, Code] = {c.code: c for area in _AREAS for c in area.CODES}

__all__ = ["CATALOGUE", "Code"]
