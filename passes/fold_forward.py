"""Fold an affine map into everything that reads the mapped value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.ir.groups import WEIGHTED
from lowbitc.passes.affine import read_mapping
from lowbitc.passes.commute import Blocked, moved_behind
from lowbitc.passes.scale_weights import scaled_input, store
from lowbitc.passes.spell_scale_shift import Spelling, goes_by_channel, put_scale_shift

if TYPE_CHECKING:
    from lowbitc.compiler.diagnostics import Source
    from lowbitc.compiler.ir.node import Node
    from lowbitc.passes.affine import Affine, Mapping
    from lowbitc.passes.edit import Edit


@dataclass(frozen=True, slots=True)
class Forward:
    """Folds maps into the weights behind them; all readers can take the map, or none does."""

    edit: Edit

    def blocked(self, mapping: Mapping) -> Blocked | None:
        """Return why not every reader can take the map; None when all can."""
        return self._blocked(mapping.node.outputs[0], mapping.affine)

    def fold(self, mapping: Mapping) -> None:
        """Do it; ``blocked`` must have found nothing."""
        node = mapping.node
        self._fold(node.outputs[0], mapping.value, mapping.affine, node.sources)
        self.edit.drop(node)

    def _blocked(self, value: str, affine: Affine) -> Blocked | None:
        if value in self.edit.pinned:
            return Blocked(f"{value} is an output of the network")
        reasons = (self._reader(node, value, affine) for node in self.edit.readers(value))
        return next((why for why in reasons if why is not None), None)

    def _reader(self, node: Node, value: str, affine: Affine) -> Blocked | None:
        edit = self.edit
        if isinstance(node, WEIGHTED):
            if value in node.inputs[1:]:
                return Blocked(f"{node.name} reads {value} as weights")
            found = scaled_input(edit, node, affine)
            return found if isinstance(found, Blocked) else None
        later = read_mapping(edit, node)
        if later is not None:
            fits = goes_by_channel(edit, value, affine.then(later.affine))
            return None if fits else Blocked(f"{node.name} does not map by channels")
        moved = moved_behind(edit, node, value, affine)
        if isinstance(moved, Blocked):
            return moved
        return self._blocked(node.outputs[0], moved)

    def _fold(self, value: str, plain: str, affine: Affine, sources: tuple[Source, ...]) -> None:
        """Make every reader of ``value`` read ``plain``, of which it is the mapped one."""
        edit = self.edit
        for reader in edit.readers(value):
            node = edit.current(reader)
            if node is None:
                continue
            merged = tuple(dict.fromkeys((*sources, *node.sources)))
            later = read_mapping(edit, node)
            if isinstance(node, WEIGHTED):
                found = scaled_input(edit, node, affine)
                if not isinstance(found, Blocked):
                    changed = store(edit, node, found)
                    inputs = (plain, *changed.inputs[1:])
                    edit.put(dataclasses.replace(changed, inputs=inputs, sources=merged))
            elif later is not None:
                spelling = Spelling(node.name, plain, node.outputs[0], merged)
                put_scale_shift(edit, spelling, affine.then(later.affine))
            else:
                self._pass(node, value, plain, affine, sources)

    def _pass(
        self, node: Node, value: str, plain: str, affine: Affine, sources: tuple[Source, ...]
    ) -> None:
        """Move the map behind a node that lets it pass."""
        edit = self.edit
        moved = moved_behind(edit, node, value, affine)
        if isinstance(moved, Blocked):
            return
        old = node.outputs[0]
        new = edit.add_value(f"{old}.unscaled", edit.types[old])
        inputs = tuple(plain if v == value else v for v in node.inputs)
        edit.put(dataclasses.replace(node, inputs=inputs, outputs=(new,)))
        self._fold(old, new, moved, sources)
