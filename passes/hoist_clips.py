"""Hoist clips over max pools, to the layer whose output stage clips for nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.ir import ops
from lowbitc.passes.edit import Edit

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import PassResult


@dataclass(frozen=True, slots=True)
class HoistClips:
    """Make clip(maxpool(x)) maxpool(clip(x)): the same, since a clip never falls.

    Where the pool and its input have no other readers.
    """

    name: ClassVar[str] = "hoist-clips"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with clips before max pools."""
        edit = Edit(graph)
        for found in graph.nodes:
            clip = edit.current(found)
            while isinstance(clip, (ops.Relu, ops.Clamp)):
                pool = edit.maker(clip.inputs[0])
                if not isinstance(pool, ops.MaxPool) or not _alone(edit, pool):
                    break
                value = pool.inputs[0]
                clipped = edit.add_value(f"{value}.clipped", edit.types[value])
                lowered = dataclasses.replace(clip, inputs=(value,), outputs=(clipped,))
                edit.put(dataclasses.replace(pool, inputs=(clipped,), outputs=clip.outputs))
                edit.put(lowered)
                clip = lowered
        return edit.done()


def _alone(edit: Edit, pool: ops.MaxPool) -> bool:
    return edit.read_once(pool.outputs[0]) and edit.read_once(pool.inputs[0])
