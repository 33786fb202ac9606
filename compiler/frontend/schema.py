"""Schemas of operators at the opsets that a model imports."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import AttributeProto, defs

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS = dict(AttributeProto.AttributeType.items())

OLDEST_OPSET = 7
"""Operators broadcast as numpy does from opset 7 on."""
ASSUMED_OPSET = 21
"""Of models without operators of ONNX itself."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What onnx says of an operator; ``attributes`` maps names to AttributeProto's types."""

    op: defs.OpSchema
    since: int
    attributes: Mapping[str, int]
    required: frozenset[str]
    fewest_inputs: int
    most_inputs: int
    deprecated: bool


@functools.cache
def schema_of(op_type: str, domain: str, opset: int) -> Schema | None:
    """Return the schema of an operator, or None where onnx knows none."""
    try:
        found = defs.get_schema(op_type, opset, domain)
    except defs.SchemaError:
        return None
    attributes = found.attributes
    return Schema(
        found,
        found.since_version,
        {name: _KINDS[str(a.type).rpartition(".")[2]] for name, a in attributes.items()},
        frozenset(name for name, a in attributes.items() if a.required),
        found.min_input,
        found.max_input,
        found.deprecated,
    )


def plain_domain(domain: str) -> str:
    """Return "" for both spellings of ONNX's own domain."""
    return "" if domain == "ai.onnx" else domain
