"""Fold an affine map into what makes the value that it maps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.groups import SUMMING, WEIGHTED
from lowbitc.passes.affine import read_mapping
from lowbitc.passes.commute import Blocked, moved_before
from lowbitc.passes.scale_weights import scaled_output, store
from lowbitc.passes.spell_scale_shift import Spelling, goes_by_channel, put_scale_shift

if TYPE_CHECKING:
    from lowbitc.compiler.diagnostics import Source
    from lowbitc.compiler.ir.node import Node
    from lowbitc.passes.affine import Affine, Mapping
    from lowbitc.passes.edit import Edit

_CLIPS = (ops.Relu, ops.Clamp)
_TRANSPARENT = (ops.MaxPool, ops.Reshape, ops.Transpose, ops.Slice, ops.Upsample, ops.Concat)
"""Nodes behind which a map gains nothing: it does better before them."""


@dataclass(frozen=True, slots=True)
class Backward:
    """Folds maps of values into the weights before them.

    With ``settles`` a map also finds its place directly behind a layer or its clip, where the
    layer's output stage does it, on the way past nodes that only move or compare values.
    """

    edit: Edit
    settles: bool = False

    def blocked(self, mapping: Mapping) -> Blocked | None:
        """Return why the map cannot go to what makes its value; None when it can."""
        maker = self.edit.maker(mapping.value)
        if self.settles and not isinstance(maker, _TRANSPARENT):
            return Blocked("it is in its place")
        return self._blocked(mapping.value, mapping.affine)

    def fold(self, mapping: Mapping) -> None:
        """Do it; ``blocked`` must have found nothing."""
        self.edit.drop(mapping.node)
        self._fold(mapping.value, mapping.affine, mapping.node.outputs[0], mapping.node)

    def _blocked(self, value: str, affine: Affine) -> Blocked | None:
        edit, node = self.edit, self.edit.maker(value)
        if node is None:
            return Blocked(f"{value} is an input of the network")
        if not edit.read_once(value):
            return Blocked(f"{value} has other readers, or is an output")
        if isinstance(node, WEIGHTED):
            found = scaled_output(edit, node, affine)
            return found if isinstance(found, Blocked) else None
        if self.settles and self.is_place(node):
            fits = goes_by_channel(edit, value, affine)
            return None if fits else Blocked(f"the map does not go by the channels of {value}")
        inner = read_mapping(edit, node)
        if inner is not None:
            fits = goes_by_channel(edit, value, inner.affine.then(affine))
            return None if fits else Blocked(f"{node.name} does not map by channels")
        return self._passing_blocked(node, affine)

    def _passing_blocked(self, node: Node, affine: Affine) -> Blocked | None:
        moved = moved_before(self.edit, node, affine)
        if isinstance(moved, Blocked):
            return moved
        operands = zip(node.inputs, moved, strict=True)
        reasons = (self._blocked(v, part) for v, part in operands if not part.is_identity)
        return next((why for why in reasons if why is not None), None)

    def is_place(self, node: Node) -> bool:
        """Whether the node is a layer, or a clip of a layer that nothing else reads.

        Behind either the layer's output stage can do a map.
        """
        if isinstance(node, _CLIPS):
            layer = self.edit.maker(node.inputs[0])
            return isinstance(layer, SUMMING) and self.edit.read_once(node.inputs[0])
        return isinstance(node, SUMMING)

    def _fold(self, value: str, affine: Affine, output: str, origin: Node) -> None:
        """Make ``output`` hold the mapped value, by changing what made the value."""
        edit, node = self.edit, self.edit.maker(value)
        if node is None:
            return
        sources = _merged(node.sources, origin.sources)
        inner = read_mapping(edit, node)
        if isinstance(node, WEIGHTED):
            found = scaled_output(edit, node, affine)
            if not isinstance(found, Blocked):
                changed = store(edit, node, found)
                edit.put(dataclasses.replace(changed, outputs=(output,), sources=sources))
        elif self.settles and self.is_place(node):
            name = edit.fresh(origin.name)
            put_scale_shift(edit, Spelling(name, value, output, origin.sources), affine)
        elif inner is not None:
            whole = inner.affine.then(affine)
            put_scale_shift(edit, Spelling(node.name, inner.value, output, sources), whole)
        else:
            self._pass(node, affine, output, origin)

    def _pass(self, node: Node, affine: Affine, output: str, origin: Node) -> None:
        """Move the map to the operands of a node that lets it pass."""
        edit = self.edit
        moved = moved_before(edit, node, affine)
        if isinstance(moved, Blocked):
            return
        inputs = list(node.inputs)
        for index, part in enumerate(moved):
            if not part.is_identity:
                old = node.inputs[index]
                inputs[index] = edit.add_value(f"{old}.scaled", edit.types[old])
        edit.put(dataclasses.replace(node, inputs=tuple(inputs), outputs=(output,)))
        for old, new, part in zip(node.inputs, inputs, moved, strict=True):
            if not part.is_identity:
                self._fold(old, part, new, origin)


def _merged(first: tuple[Source, ...], second: tuple[Source, ...]) -> tuple[Source, ...]:
    return tuple(dict.fromkeys((*first, *second)))
