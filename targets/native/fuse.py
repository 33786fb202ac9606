"""Fuse residual Adds into the convolutions that feed them."""

from __future__ import annotations

from collections import Counter

from lowbitc.targets.native.layers import AddLayer, ConvLayer, FusedLayer, Layer, inputs_of
from lowbitc.targets.native.stages import Raw


def fuse_additions(layers: list[Layer], kept: frozenset[int]) -> list[Layer]:
    """Write each Add as part of a convolution whose output nothing else reads.

    ``kept`` are values that must exist in memory. The fused convolution stands where the Add
    stood, so that the other operand is ready.
    """
    uses = Counter(value.index for layer in layers for value in inputs_of(layer))
    producers = {layer.output.index: layer for layer in layers}
    moved: set[int] = set()
    fused: dict[int, FusedLayer] = {}
    for position, layer in enumerate(layers):
        if not isinstance(layer, AddLayer):
            continue
        for value, other, stage in (
            (layer.input, layer.other, layer.stage),
            (layer.other, layer.input, layer.stage.swapped()),
        ):
            conv = producers[value.index]
            free = uses[value.index] == 1 and value.index not in kept
            if not free or not isinstance(conv, ConvLayer) or isinstance(conv.stage, Raw):
                continue
            if conv.stage.table is None:
                fused[position] = FusedLayer(conv, other, layer.output, stage)
                moved.add(value.index)
                break
    return [
        fused.get(position, layer)
        for position, layer in enumerate(layers)
        if layer.output.index not in moved
    ]
