"""The graph: nodes in topological order, values by name, constants, types, clips, regions."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lowbitc.compiler.elements import PlainType
from lowbitc.compiler.ir.ops import HostOp
from lowbitc.compiler.ir.types import Clip, TensorType, ValueType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.node import Node


class Stage(enum.Enum):
    """How far a graph has come; the verifier of a stage is narrower than the one before."""

    IMPORTED = "imported"
    FOLDED = "folded"
    CALIBRATED = "calibrated"
    QUANTIZED = "quantized"
    PARTITIONED = "partitioned"


class Where(enum.Enum):
    """Which side a region runs on."""

    DEVICE = "device"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Region:
    """Nodes that run together: one launch of the chip, or one piece on the CPU."""

    where: Where
    nodes: tuple[str, ...]


def _values() -> dict[str, ValueType]:
    return {}


def _constants() -> dict[str, Array]:
    return {}


def _clips() -> dict[str, Clip]:
    return {}


def _reasons() -> dict[str, str]:
    return {}


def _gains() -> dict[str, tuple[float, ...]]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A network; passes make new graphs and never change one.

    ``opset`` and ``domains`` (other domains and their versions) are those that host operators were
    written for. ``types`` holds a type for every value and constant. ``clips`` says how activations
    are to be quantized; ``host_reasons`` says, by node name, why a node stays on the CPU (it does
    when it is a key). ``regions`` are in the order of execution. ``gains`` are, by value, what its
    channels (axis 1) were multiplied by: the value is the user's tensor times its gains.
    ``rotated`` are values whose channels are in another basis (``rotate_streams``).
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    types: Mapping[str, ValueType] = field(default_factory=_values)
    constants: Mapping[str, Array] = field(default_factory=_constants)
    opset: int = 21
    domains: tuple[tuple[str, int], ...] = ()
    stage: Stage = Stage.IMPORTED
    clips: Mapping[str, Clip] = field(default_factory=_clips)
    host_reasons: Mapping[str, str] = field(default_factory=_reasons)
    regions: tuple[Region, ...] = ()
    gains: Mapping[str, tuple[float, ...]] = field(default_factory=_gains)
    rotated: tuple[str, ...] = ()

    def tensor(self, value: str) -> TensorType:
        """Return the type of a value that is a tensor; unknown values have unknown rank."""
        found = self.types.get(value)
        if isinstance(found, TensorType):
            return found
        return TensorType(None, PlainType("undefined"))

    def shape(self, value: str) -> tuple[int, ...]:
        """Return the shape of a value whose rank is known, else ()."""
        return self.tensor(value).dims

    def producers(self) -> dict[str, Node]:
        """Map each value that a node makes to that node."""
        return {value: node for node in self.nodes for value in node.outputs if value}

    def consumers(self) -> dict[str, list[Node]]:
        """Map each value to the nodes that read it, once a reading, in order."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for value in reads(node):
                readers.setdefault(value, []).append(node)
        return readers

    def sole_consumer(self, value: str, readers: Mapping[str, list[Node]]) -> Node | None:
        """Return the only reader of a value that is no output of the graph, else None."""
        found = readers.get(value, [])
        return found[0] if len(found) == 1 and value not in self.outputs else None

    def replace(self, **changes: object) -> Graph:
        """Return a copy with other fields."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def pruned(self) -> Graph:
        """Drop nodes whose outputs nothing needs, and all that is held of values that are gone."""
        needed = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(reads(node))
        live = needed | set(self.inputs) | {v for n in kept for v in n.outputs if v}
        return dataclasses.replace(
            self,
            nodes=tuple(reversed(kept)),
            constants={k: v for k, v in self.constants.items() if k in live},
            types={k: v for k, v in self.types.items() if k in live},
            clips={k: v for k, v in self.clips.items() if k in live},
            host_reasons={
                k: v for k, v in self.host_reasons.items() if k in {n.name for n in kept}
            },
        )


def reads(node: Node) -> Iterator[str]:
    """Yield the values that a node reads, its subgraphs' captures among them."""
    yield from (value for value in node.inputs if value)
    if isinstance(node, HostOp):
        yield from node.captures


def fresh_name(wanted: str, taken: Iterable[str]) -> str:
    """Return ``wanted``, or the first of ``wanted.1``, ``wanted.2`` … that is not taken."""
    used = set(taken)
    if wanted not in used:
        return wanted
    count = 1
    while f"{wanted}.{count}" in used:
        count += 1
    return f"{wanted}.{count}"
