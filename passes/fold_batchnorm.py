"""Fold batch norms and loose Mul and Add of constants into the layers around them.

Each is an affine map y = x · a + b. It goes, where that is exact, into the weights of the layers
before it, else into those of the layers behind it, on the way past pools, layout changes, Concat
and Add; else it merges with another map, or stays as a ScaleShift, as near as can be to a layer
whose output stage does it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.diagnostics import note
from lowbitc.compiler.ir import ops
from lowbitc.passes.affine import Mapping, read_mapping
from lowbitc.passes.edit import Edit, joined_sources, on_cpu
from lowbitc.passes.fold_backward import Backward
from lowbitc.passes.fold_forward import Forward
from lowbitc.passes.spell_scale_shift import Spelling, goes_by_channel, put_scale_shift

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult


@dataclass(frozen=True, slots=True)
class FoldBatchnorm:
    """Fold affine maps into weights; sums in float64, results in float32.

    Norms that compute their statistics, or of other types than float32, go to the CPU.

    A shift does not cross zero padding, a scale that is not positive does not cross a maximum,
    and a value with other readers stays as it is, so that every output keeps its value.
    """

    name: ClassVar[str] = "fold-batchnorm"

    def run(self, graph: Graph, /) -> PassResult:
        """Return an equal graph with as few affine maps as can be, none of them a BatchNorm."""
        # A reader that nothing needs would hold back a map that all others can take.
        pruned = graph.pruned()
        dead = len(pruned.nodes) != len(graph.nodes)
        edit = Edit(pruned if dead else graph)
        folded: list[Node] = []
        stuck = _sweep(edit, folded)
        while stuck.moved:
            stuck = _sweep(edit, folded)
        for node in edit.nodes:
            mapping = _mapping(edit, node)
            if mapping is not None and not isinstance(node, ops.ScaleShift):
                _spell(edit, mapping)
            elif mapping is None and isinstance(node, ops.BatchNorm):
                edit.put(on_cpu(node, "BatchNormalization", epsilon=node.epsilon))
        result = edit.done(_report(edit, folded, stuck))
        return dataclasses.replace(result, changed=True) if dead else result


@dataclass(frozen=True, slots=True)
class _Stuck:
    """What a sweep left, by node name with the reason; ``moved`` when it changed anything."""

    reasons: dict[str, str]
    moved: bool


def _sweep(edit: Edit, folded: list[Node]) -> _Stuck:
    reasons: dict[str, str] = {}
    moved = False
    for node in edit.nodes:
        mapping = _mapping(edit, node)
        if mapping is None:
            continue
        why = _fold(edit, mapping)
        if why:
            settling = Backward(edit, settles=True)
            if settling.blocked(mapping) is None:
                settling.fold(mapping)
                moved = True
            else:
                reasons[node.name] = why
        else:
            folded.append(node)
            moved = True
    return _Stuck(reasons, moved)


def _mapping(edit: Edit, node: Node) -> Mapping | None:
    now = edit.current(node)
    return None if now is None else read_mapping(edit, now)


def _fold(edit: Edit, mapping: Mapping) -> str:
    """Fold one map one way or the other; return why neither is exact, "" when it is done."""
    if mapping.affine.is_identity:
        edit.bypass(mapping.node, mapping.value)
        return ""
    reasons: list[str] = []
    for way in (Backward(edit), Forward(edit)):
        why = way.blocked(mapping)
        if why is None:
            way.fold(mapping)
            return ""
        reasons.append(why.reason)
    return f"before it: {reasons[0]}; behind it: {reasons[1]}"


def _spell(edit: Edit, mapping: Mapping) -> None:
    """Spell a map that stays as a ScaleShift where it goes by channel."""
    node, output = mapping.node, mapping.node.outputs[0]
    if goes_by_channel(edit, mapping.value, mapping.affine):
        spelling = Spelling(node.name, mapping.value, output, node.sources)
        put_scale_shift(edit, spelling, mapping.affine)


def _report(edit: Edit, folded: list[Node], stuck: _Stuck) -> Iterator[Diagnostic]:
    if folded:
        norms = sum(isinstance(node, ops.BatchNorm) for node in folded)
        counts = {"batch norms": norms, "loose scales and shifts": len(folded) - norms}
        what = " and ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        yield note("LB421", f"folded into weights: {what}", sources=joined_sources(*folded))
    for node in edit.nodes:
        why = stuck.reasons.get(node.name)
        if why:
            yield note(
                "LB422",
                f"{node.name} stays as {_place(edit, node)}",
                sources=node.sources,
                found=why,
            )


def _place(edit: Edit, node: Node) -> str:
    before = edit.maker(node.inputs[0])
    absorbed = isinstance(node, ops.ScaleShift) and edit.read_once(node.inputs[0])
    if absorbed and before is not None and Backward(edit).is_place(before):
        return f"a ScaleShift behind {before.name}, for that layer's output stage"
    return f"a {node.op} of its own"
