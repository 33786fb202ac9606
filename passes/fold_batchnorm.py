"""Fold batch norms and loose Mul and Add of constants into the layers around them.

Each is an affine map y = x · a + b. It goes, where that is exact, into the weights of the layers
before it, else into those of the layers behind it, on the way past pools, layout changes, Concat
and Add; else it merges with another map, or stays as a ScaleShift.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.diagnostics import note
from lowbitc.compiler.ir import ops
from lowbitc.passes.affine import Mapping, read_mapping
from lowbitc.passes.commute import Blocked, moved_before, moved_behind
from lowbitc.passes.edit import Edit, joined_sources
from lowbitc.passes.scale_weights import WEIGHTED, scaled_input, scaled_output, store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.diagnostics import Diagnostic, Source
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult
    from lowbitc.passes.affine import Affine


@dataclass(frozen=True, slots=True)
class FoldBatchnorm:
    """Fold affine maps into weights; sums in float64, results in float32.

    A shift does not cross zero padding, a scale that is not positive does not cross a maximum,
    and a value with other readers stays as it is, so that every output keeps its value.
    """

    name: ClassVar[str] = "fold-batchnorm"

    def run(self, graph: Graph, /) -> PassResult:
        """Return an equal graph with as few affine maps as can be, none of them a BatchNorm."""
        edit = Edit(graph)
        folded: list[Node] = []
        stuck: dict[str, str] = {}
        again = True
        while again:
            again = False
            stuck = {}
            for node in edit.nodes:
                mapping = _live_mapping(edit, node)
                if mapping is None:
                    continue
                why = _fold(edit, mapping)
                if why:
                    stuck[mapping.node.name] = why
                else:
                    folded.append(node)
                    again = True
        for node in edit.nodes:
            mapping = _live_mapping(edit, node)
            if mapping is not None and not isinstance(node, ops.ScaleShift):
                _spell(edit, mapping)
        return edit.done(_report(edit, folded, stuck))


def _live_mapping(edit: Edit, node: Node) -> Mapping | None:
    now = edit.current(node)
    return None if now is None else read_mapping(edit, now)


def _fold(edit: Edit, mapping: Mapping) -> str:
    """Fold one map one way or the other; return why neither is exact, "" when it is done."""
    node, output = mapping.node, mapping.node.outputs[0]
    if mapping.affine.is_identity:
        edit.bypass(node, mapping.value)
        return ""
    before = _back_blocked(edit, mapping.value, mapping.affine)
    if before is None:
        edit.drop(node)
        _fold_back(edit, mapping.value, mapping.affine, output, node.sources)
        return ""
    behind = _forward_blocked(edit, output, mapping.affine)
    if behind is None:
        _fold_forward(edit, output, mapping.value, mapping.affine, node.sources)
        edit.drop(node)
        return ""
    return f"before it: {before.reason}; behind it: {behind.reason}"


# --- backwards ---------------------------------------------------------------------------------


def _back_blocked(edit: Edit, value: str, affine: Affine) -> Blocked | None:
    """Return why a map of a value cannot go into what makes the value."""
    node = edit.maker(value)
    if node is None:
        return Blocked("an input of the network")
    if not edit.read_once(value):
        return Blocked(f"{value} has other readers, or is an output")
    if isinstance(node, WEIGHTED):
        found = scaled_output(edit, node, affine)
        return found if isinstance(found, Blocked) else None
    inner = read_mapping(edit, node)
    if inner is not None:
        whole = inner.affine.then(affine)
        return None if _channels(edit, value, whole) else Blocked(f"{node.name} maps otherwise")
    moved = moved_before(edit, node, affine)
    if isinstance(moved, Blocked):
        return moved
    operands = zip(node.inputs, moved, strict=True)
    reasons = (_back_blocked(edit, v, part) for v, part in operands if not part.is_identity)
    return next((why for why in reasons if why is not None), None)


def _fold_back(
    edit: Edit, value: str, affine: Affine, output: str, sources: tuple[Source, ...]
) -> None:
    """Make ``output`` hold the mapped value, by changing what made the value."""
    node = edit.maker(value)
    if node is None:
        return
    merged = tuple(dict.fromkeys((*node.sources, *sources)))
    inner = read_mapping(edit, node)
    if isinstance(node, WEIGHTED):
        found = scaled_output(edit, node, affine)
        if not isinstance(found, Blocked):
            changed = store(edit, node, found)
            edit.put(dataclasses.replace(changed, outputs=(output,), sources=merged))
    elif inner is not None:
        _put_scale_shift(
            edit, Mapping(node, inner.value, inner.affine.then(affine)), output, merged
        )
    else:
        moved = moved_before(edit, node, affine)
        if isinstance(moved, Blocked):
            return
        inputs = list(node.inputs)
        for index, part in enumerate(moved):
            if not part.is_identity:
                old = node.inputs[index]
                inputs[index] = edit.add_value(f"{old}.scaled", edit.types[old])
        edit.put(dataclasses.replace(node, inputs=tuple(inputs), outputs=(output,)))
        for index, part in enumerate(moved):
            if not part.is_identity:
                _fold_back(edit, node.inputs[index], part, inputs[index], sources)


# --- forwards ----------------------------------------------------------------------------------


def _forward_blocked(edit: Edit, value: str, affine: Affine) -> Blocked | None:
    """Return why not all readers of a mapped value can read the value itself instead."""
    if value in edit.pinned:
        return Blocked(f"{value} is an output of the network")
    reasons = (_reader_blocked(edit, node, value, affine) for node in edit.readers(value))
    return next((why for why in reasons if why is not None), None)


def _reader_blocked(edit: Edit, node: Node, value: str, affine: Affine) -> Blocked | None:
    if isinstance(node, WEIGHTED):
        if value in node.inputs[1:]:
            return Blocked(f"{node.name} reads it as weights")
        found = scaled_input(edit, node, affine)
        return found if isinstance(found, Blocked) else None
    later = read_mapping(edit, node)
    if later is not None:
        whole = affine.then(later.affine)
        fits = _channels(edit, node.outputs[0], whole)
        return None if fits else Blocked(f"{node.name} maps otherwise")
    moved = moved_behind(edit, node, value, affine)
    if isinstance(moved, Blocked):
        return moved
    return _forward_blocked(edit, node.outputs[0], moved)


def _fold_forward(
    edit: Edit, value: str, plain: str, affine: Affine, sources: tuple[Source, ...]
) -> None:
    """Make every reader of ``value`` read ``plain``, of which it is the mapped one."""
    for reader in edit.readers(value):
        node = edit.current(reader)
        if node is None:
            continue
        inputs = tuple(plain if v == value else v for v in node.inputs)
        merged = tuple(dict.fromkeys((*sources, *node.sources)))
        later = read_mapping(edit, node)
        if isinstance(node, WEIGHTED):
            found = scaled_input(edit, node, affine)
            if not isinstance(found, Blocked):
                changed = store(edit, node, found)
                edit.put(
                    dataclasses.replace(changed, inputs=(plain, *changed.inputs[1:]), sources=merged)
                )
        elif later is not None:
            mapping = Mapping(node, plain, affine.then(later.affine))
            _put_scale_shift(edit, mapping, node.outputs[0], merged)
        else:
            moved = moved_behind(edit, node, value, affine)
            if isinstance(moved, Blocked):
                continue
            old = node.outputs[0]
            new = edit.add_value(f"{old}.unscaled", edit.types[old])
            edit.put(dataclasses.replace(node, inputs=inputs, outputs=(new,)))
            _fold_forward(edit, old, new, moved, sources)


# --- what stays --------------------------------------------------------------------------------


def _channels(edit: Edit, value: str, affine: Affine) -> int:
    """Return the number of channels that a ScaleShift of the value has, 0 if none can do."""
    shape = edit.shape(value) or ()
    if len(shape) < 2 or shape[1] < 1:  # noqa: PLR2004 - axis 1 holds channels
        return 0
    return 0 if affine.along(1, shape[1]) is None else shape[1]


def _put_scale_shift(
    edit: Edit, mapping: Mapping, output: str, sources: tuple[Source, ...]
) -> None:
    vectors = mapping.affine.along(1, _channels(edit, mapping.node.outputs[0], mapping.affine))
    if vectors is None:
        return
    name = mapping.node.name
    scale, shift = (v.astype(np.float32) for v in vectors)
    constants = edit.add_constant(f"{name}.scale", scale), edit.add_constant(f"{name}.shift", shift)
    edit.put(
        ops.ScaleShift(
            name=name, inputs=(mapping.value, *constants), outputs=(output,), sources=sources
        )
    )


def _spell(edit: Edit, mapping: Mapping) -> None:
    """Spell a map that stays as a ScaleShift where it goes by channel."""
    node = mapping.node
    if _channels(edit, node.outputs[0], mapping.affine):
        _put_scale_shift(edit, mapping, node.outputs[0], joined_sources(node))


def _report(edit: Edit, folded: list[Node], stuck: dict[str, str]) -> Iterator[Diagnostic]:
    if folded:
        norms = sum(isinstance(node, ops.BatchNorm) for node in folded)
        yield note(
            "LB421",
            f"{norms} batch norms and {len(folded) - norms} loose scales and shifts were folded "
            "into weights",
            sources=joined_sources(*folded),
        )
    for node in edit.nodes:
        why = stuck.get(node.name)
        if why:
            yield note(
                "LB422",
                f"{node.name} stays as a {node.op} of its own",
                sources=node.sources,
                found=why,
            )
