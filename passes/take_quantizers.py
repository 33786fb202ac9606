"""Make clips of a model's own quantizers, and levels of its weights; no scale changes.

A quantizer behind a layer becomes the clip of its output stage; behind anything else on the chip a
table; where the CPU hands a value over, the border rounds as the quantizer does.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.diagnostics import note
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Stage, fresh_name
from lowbitc.compiler.ir.groups import CLIPS, KEEPS_LEVELS, SUMMING, WEIGHTED
from lowbitc.compiler.ir.types import Clip, TensorType
from lowbitc.compiler.manager import PassResult
from lowbitc.compiler.statistics.recover_levels import recover_levels
from lowbitc.passes.bin_weights import channel_rows
from lowbitc.passes.chains import on_device
from lowbitc.passes.check_quantized import Grid, grid_of
from lowbitc.passes.edit import Edit, joined_sources
from lowbitc.passes.merge_clips import clip_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

_BORDER = "LB133: the border to the chip rounds as this quantizer does, within its bounds"


@dataclass(frozen=True, slots=True)
class TakeQuantizers:
    """Fill ``Graph.clips`` and the weights' levels of the chip's part from the model itself."""

    name: ClassVar[str] = "take-quantizers"

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with its given clips and levels, in stage CALIBRATED."""
        taken = _Taken(graph)
        for node in graph.nodes:
            taken.node(node)
        after = taken.edit.done().graph
        whole = after.replace(host_reasons=taken.reasons, stage=Stage.CALIBRATED)
        done = _with_levels(whole.replace(clips=_spread(whole, taken.clips)))
        layers = sum(isinstance(n, WEIGHTED) for n in on_device(done))
        told = note(
            "LB134",
            f"{graph.name} is quantized already: its scales are taken as they are",
            found=f"{len(taken.clips)} activations and {layers} layers on the chip",
            hint="--bits, --clip, --weights and calibration data are not used",
        )
        return PassResult(done, changed=True, diagnostics=(told,))


class _Taken:
    """Quantizers as they are taken, one after the other."""

    def __init__(self, graph: Graph) -> None:
        self.edit = Edit(graph)
        self.device = {node.name for node in on_device(graph)}
        self.reasons = dict(graph.host_reasons)
        self.clips: dict[str, Clip] = {}
        self.grids: dict[str, Grid] = {}

    def node(self, node: Node) -> None:
        """Take one node, in the order of the graph."""
        current = self.edit.current(node)
        if current is None or current.name not in self.device:
            return
        if isinstance(current, ops.FakeQuantize):
            self.quantizer(current)
        elif isinstance(current, KEEPS_LEVELS) and current.inputs[0] in self.grids:
            self.grids[current.outputs[0]] = self.grids[current.inputs[0]]
        elif isinstance(current, ops.Concat):
            held = {self.grids.get(value) for value in current.inputs}
            grid = held.pop()
            if grid is not None and not held:
                self.grids[current.outputs[0]] = grid

    def quantizer(self, node: ops.FakeQuantize) -> None:
        x, out = node.inputs[0], node.outputs[0]
        maker = self.edit.maker(x)
        before = self.grids.get(x)
        grid = grid_of(node, maker, before)
        if grid is None:
            return
        clip = Clip(grid.element, grid.scale)
        self.grids[out] = grid
        if maker is None or maker.name not in self.device:
            self.border(node, grid, clip)
        elif self.ends_layer(maker) or isinstance(maker, CLIPS):
            self.clips[out] = clip
            self.edit.put(_clamp(node, maker, grid))
        elif before == grid:
            self.bypass(node, grid)
        elif before is not None:
            # Levels of another scale: a table changes them.
            self.clips[out] = clip
            self.edit.put(_clamp(node, maker, grid))
        elif grid.full or isinstance(maker, ops.Concat):
            self.clips[self.bypass(node, grid)] = clip
        else:
            # What makes the value takes the scale; a table holds it to the bounds.
            self.clips[x] = self.clips[out] = clip
            self.edit.put(_clamp(node, maker, grid))

    def border(self, node: ops.FakeQuantize, grid: Grid, clip: Clip) -> None:
        """Let the border round what the CPU hands over, where it does all that the node does."""
        x, out = node.inputs[0], node.outputs[0]
        others = [r for r in self.edit.readers(x) if isinstance(r, ops.FakeQuantize)]
        inward = all(reader.name in self.device for reader in self.edit.readers(out))
        if grid.full and inward and len(others) == 1 and out not in self.edit.pinned:
            self.clips[self.bypass(node, grid)] = clip
        else:
            self.reasons[node.name] = _BORDER
            self.clips[out] = clip

    def bypass(self, node: ops.FakeQuantize, grid: Grid) -> str:
        """Drop a quantizer; return what its readers read then."""
        value = node.outputs[0] if node.outputs[0] in self.edit.pinned else node.inputs[0]
        self.edit.bypass(node, node.inputs[0])
        self.grids[value] = grid
        return value

    def ends_layer(self, node: Node) -> bool:
        return isinstance(node, (*SUMMING, ops.Add))


def _clamp(node: ops.FakeQuantize, maker: Node, grid: Grid) -> ops.Clamp:
    """Return the clip that a quantizer is but for its rounding, merged with one before it."""
    value, sources = node.inputs[0], node.sources
    low, high = grid.low * grid.scale, grid.high * grid.scale
    inner = clip_of(maker)
    if inner is not None:
        value, sources = maker.inputs[0], joined_sources(maker, node)
        low, high = (min(max(bound, low), high) for bound in inner)
    return ops.Clamp(
        name=node.name,
        inputs=(value,),
        outputs=node.outputs,
        sources=sources,
        low=low,
        high=high,
    )


def _spread(graph: Graph, given: Mapping[str, Clip]) -> dict[str, Clip]:
    """Return the clips of all values of the chip: what moves levels keeps their clip."""
    clips = dict(given)
    for node in on_device(graph):
        held = {clips.get(value) for value in node.inputs if value}
        moves = isinstance(node, (*KEEPS_LEVELS, ops.Concat))
        if moves and len(held) == 1 and (clip := held.pop()) is not None:
            clips.setdefault(node.outputs[0], clip)
    return clips


def _with_levels(graph: Graph) -> Graph:
    """Return the graph with the weights of the chip's layers as the integers that they are."""
    constants, types = dict(graph.constants), dict(graph.types)
    nodes: dict[str, Node] = {}
    for node in on_device(graph):
        if not isinstance(node, WEIGHTED):
            continue
        rows, restore = channel_rows(node, np.asarray(constants[node.inputs[1]], np.float32))
        found = recover_levels(rows)
        if found is None:
            continue
        levels = restore(found.levels.astype(np.int8))
        name = fresh_name(f"{node.inputs[1]}.levels", types)
        constants[name] = levels
        scales = tuple(float(scale) for scale in found.scales)
        types[name] = TensorType(levels.shape, found.levels_type, scales)
        inputs = (node.inputs[0], name, *node.inputs[2:])
        nodes[node.name] = dataclasses.replace(node, inputs=inputs)
    return graph.replace(
        nodes=tuple(nodes.get(n.name, n) for n in graph.nodes), constants=constants, types=types
    ).pruned()
