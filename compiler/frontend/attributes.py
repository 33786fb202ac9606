"""Typed access to the attributes of an ONNX node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import AttributeProto, NodeProto


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of one node by name; kinds have been checked against the schema."""

    held: Mapping[str, AttributeProto]

    @staticmethod
    def of(node: NodeProto) -> Attributes:
        """Take the attributes of a node."""
        return Attributes({a.name: a for a in node.attribute})

    def __contains__(self, name: str) -> bool:
        """Say whether the node sets an attribute."""
        return name in self.held

    def integer(self, name: str, default: int) -> int:
        """Return an INT."""
        found = self.held.get(name)
        return default if found is None else int(found.i)

    def number(self, name: str, default: float) -> float:
        """Return a FLOAT."""
        found = self.held.get(name)
        return default if found is None else float(found.f)

    def text(self, name: str, default: str) -> str:
        """Return a STRING."""
        found = self.held.get(name)
        return default if found is None else found.s.decode("utf-8", "replace")

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Return INTS, or None where the node does not set them."""
        found = self.held.get(name)
        return None if found is None else tuple(int(i) for i in found.ints)

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """Return FLOATS, or None where the node does not set them."""
        found = self.held.get(name)
        return None if found is None else tuple(float(f) for f in found.floats)
