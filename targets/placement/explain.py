"""Say why a layer does not fit, with the arithmetic, and what would fit."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import Diagnostic, error
from lowbitc.compiler.elements import signed
from lowbitc.targets.placement.model import Unit
from lowbitc.targets.placement.split import choose_cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lowbitc.targets.placement.group import Planned
    from lowbitc.targets.placement.layer import Layer
    from lowbitc.targets.placement.mesh import Memory, Mesh
    from lowbitc.targets.placement.model import Placement

_WIDTHS = (8, 4, 2, 1)
_SHOWN = 3


def does_not_fit(layer: Layer, memory: Memory) -> Diagnostic:
    """Make the LB501 finding of a layer of which not even the smallest block fits one NP."""
    return error(
        "LB501",
        f"{layer.name} does not fit a neural processor, however it is cut",
        sources=layer.sources,
        found="; ".join((_weights(layer), _lines(layer))),
        allowed=(
            f"{memory.weight_bytes:,} B for weights and constants and "
            f"{memory.activation_bytes:,} B for lines of the input, in each NP"
        ),
        hint="; ".join(_remedies(layer, memory)),
    )


def too_many(plans: Sequence[Planned], placement: Placement, mesh: Mesh) -> Diagnostic:
    """Make the LB502 finding of a network that needs more NPs than one pass has."""
    count = sum(p.processors for p in plans if p.unit is not Unit.INPUT)
    largest = sorted(plans, key=lambda p: -p.processors)[:_SHOWN]
    taken = ", ".join(f"{p.group.layer.name} {p.processors}" for p in largest)
    passes = len(placement.passes)
    hints = [f"mode passes runs it in {passes}, loading {placement.reload_bytes:,} B a frame"]
    for bits in _WIDTHS:
        counts = [_count(p, mesh, bits) for p in plans]
        if None not in counts and sum(c for c in counts if c) <= mesh.processors:
            hints.append(f"it fits one pass with weights of {bits} bit")
            break
    return error(
        "LB502",
        "the network does not fit the chip in one pass",
        found=f"{count:,} NPs; the largest layers: {taken}",
        allowed=f"{mesh.processors:,} NPs",
        hint="; ".join(hints),
    )


def _count(planned: Planned, mesh: Mesh, bits: int) -> int | None:
    """Return the NPs of a group with weights of at most so many bits; None where it fits none."""
    if planned.unit is Unit.INPUT:
        return 0
    weight = planned.group.resident.weight
    if weight is None or weight.bits <= bits:
        return planned.processors
    lighter = dataclasses.replace(planned.group.resident, weight=signed(bits))
    cut = choose_cut(lighter, mesh.memory)
    return None if cut is None else cut.count(lighter)


def _weights(layer: Layer) -> str:
    """Write out what one output channel of one input channel takes."""
    terms: list[str] = []
    if layer.weight is not None:
        terms.append(f"{layer.taps} taps x {layer.weight.bits} bit = {layer.weight_bytes(1, 1)} B")
    terms.append(f"{layer.stage_bytes} B of output-stage constants")
    if layer.table_bytes:
        terms.append(f"{layer.table_bytes} B of table")
    total = layer.weight_bytes(1, 1) + layer.constant_bytes(1)
    return f"smallest block: 1 output x 1 input channel: {' + '.join(terms)} = {total:,} B"


def _lines(layer: Layer) -> str:
    columns = layer.columns.span(1)
    return (
        f"{layer.held_rows} rows x {columns} columns x 1 channel x {layer.input_bits} bit = "
        f"{layer.activation_bytes(1, 1):,} B of lines"
    )


def _remedies(layer: Layer, memory: Memory) -> Iterator[str]:
    """Yield what was tried, and whether it would fit."""
    yield "cutting by output channels, input channels and columns was tried"
    narrower = [b for b in _WIDTHS if b < layer.input_bits]
    fitting = [b for b in narrower if choose_cut(dataclasses.replace(layer, input_bits=b), memory)]
    if fitting:
        yield f"it fits with input levels of {fitting[0]} bit"
    if layer.weight is not None:
        lighter = [
            b
            for b in _WIDTHS
            if b < layer.weight.bits
            and choose_cut(dataclasses.replace(layer, weight=signed(b)), memory)
        ]
        if lighter:
            yield f"it fits with weights of {lighter[0]} bit"
    fitting_rows = memory.activation_bytes * 8 // max(layer.columns.span(1) * layer.input_bits, 1)
    if layer.held_rows > fitting_rows:
        yield f"it fits with at most {fitting_rows:,} rows in its window"
    yield "or keep the layer on the CPU with on_host = true in lowbitc.toml"
