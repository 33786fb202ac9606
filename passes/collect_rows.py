"""Gather what a layer is fitted on: rows of its inputs, targets, and where outputs are clipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.compiler.statistics.fit_layer import LayerRows
from lowbitc.passes.chains import Chain, channels_of, clip_bounds
from lowbitc.passes.sample_windows import (
    Windows,
    gather_outputs,
    gather_windows,
    sample_rows,
    windows_of,
)

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32, Float64, Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.passes.replay import Replay, Step


def collect_rows(replay: Replay, step: Step, chain: Chain, *, residuals: bool) -> LayerRows:
    """Run the float layer over all samples, keeping its output, and gather rows.

    With ``residuals``, a layer in front of an Add whose other operand is already quantized gets
    the target that makes the sum right: its own float output plus what the other one has lost.
    """
    graph, compute = replay.graph, chain.compute
    windows = windows_of(graph, compute)
    sampling = sample_rows(windows, replay.frames)
    source, sums = compute.inputs[0], compute.outputs[0]
    partner, after = find_partner(replay, chain) if residuals else ("", chain)
    xs: list[Array] = []
    ys: list[Float32] = []
    others: list[Float32] = []
    for start, stop, found in replay.run_float(step, (sums,)):
        levels = replay.read_levels(source, start, stop)
        first = start * len(levels) // (stop - start)
        taken, chosen = sampling.choose(first, len(levels))
        if not len(chosen):
            continue
        xs.append(gather_windows(windows, levels[taken], chosen))
        y = _targets(windows, found[sums][taken], chosen)
        if partner:
            wanted, own = (
                _targets(windows, read(partner, start, stop)[taken], chosen)
                for read in (replay.read_float, replay.read_seen)
            )
            y = y + wanted - own
            others.append(own)
        ys.append(y)
    low, high = (
        bound.reshape(1, windows.groups, windows.outputs).astype(np.float32)
        for bound in sum_bounds(graph, chain.compute.name, after)
    )
    if others:
        other = np.concatenate(others)
        low, high = low - other, high - other
    return LayerRows(np.concatenate(xs), np.concatenate(ys), low, high)


def _targets(windows: Windows, values: Array, chosen: Int64) -> Float32:
    return np.asarray(gather_outputs(windows, values, chosen), np.float32)


def find_partner(replay: Replay, chain: Chain) -> tuple[str, Chain]:
    """Return the other operand of the Add behind a linear layer, and the Add; "" where none is."""
    graph = replay.graph
    if len(chain.nodes) > 1:
        return "", chain
    reader = graph.sole_consumer(chain.output, graph.consumers())
    if not isinstance(reader, ops.Add):
        return "", chain
    after = next((s.chain for s in replay.steps if s.nodes[0].name == reader.name), None)
    others = [v for v in reader.inputs if v != chain.output]
    alike = [v for v in others if graph.shape(v) == graph.shape(chain.output)]
    if after is None or len(alike) != 1 or alike[0] not in replay.seen:
        return "", chain
    return alike[0], after


def sum_bounds(graph: Graph, layer: str, after: Chain) -> tuple[Float64, Float64]:
    """Return, by channel, below and above what the sums of a layer are clipped.

    ``after`` is the chain whose clip counts, the layer's own or the Add's behind it. Levels clip
    as well as activations do.
    """
    channels = channels_of(graph, after.compute)
    if after.table is not None:
        return np.full(channels, -np.inf), np.full(channels, np.inf)
    low, high = clip_bounds(graph, after.activation, channels)
    own = after.compute.name == layer
    if after.activation is None and after.shift is None and own:
        return low, high
    clip = graph.clips[after.output]
    least, most = (clip.scale * v for v in (clip.element.minimum, clip.element.maximum))
    if after.shift is None:
        return np.maximum(low, least), np.minimum(high, most)
    scale, shift = (
        np.asarray(graph.constants[v], np.float64).reshape(-1) for v in after.shift.inputs[1:]
    )
    return np.maximum(low, (least - shift) / scale), np.minimum(high, (most - shift) / scale)
