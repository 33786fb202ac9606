"""Readers of operators: what a reader is given, what it returns, and who reads what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypedDict

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.ir.node import Node

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.frontend.attributes import Attributes
    from lowbitc.compiler.ir.types import TensorType


class Fields(TypedDict):
    """The fields that every node has."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sources: tuple[Source, ...]


class Values(Protocol):
    """What is known of values while a model is read."""

    def tensor(self, value: str) -> TensorType:
        """Return the type of a value; unknown rank where nothing is known."""
        ...

    def constant(self, value: str) -> Array | None:
        """Return the value of a constant, else None."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """The answer of a reader when no typed operator says what the node does."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One ONNX node, as a reader sees it.

    ``version`` is its schema's since-version; ``used`` are the values that anything reads.
    """

    name: str
    op_type: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes
    values: Values
    used: frozenset[str] | set[str]

    def fields(self, inputs: int = 1) -> Fields:
        """Return the fields of a typed node that reads the first ``inputs`` inputs."""
        return Fields(
            name=self.name,
            inputs=self.inputs[:inputs],
            outputs=self.outputs[:1],
            sources=(Source(self.name, self.op_type),),
        )

    def has(self, place: int) -> bool:
        """Say whether an optional input is there."""
        return len(self.inputs) > place and bool(self.inputs[place])

    def makes(self, place: int) -> bool:
        """Say whether anything uses an optional output."""
        return len(self.outputs) > place and self.outputs[place] in self.used

    def shape(self, place: int = 0) -> tuple[int, ...]:
        """Return the shape of an input; () for an absent one."""
        return self.values.tensor(self.inputs[place]).dims if self.has(place) else ()

    def made(self, place: int = 0) -> tuple[int, ...]:
        """Return the shape of an output."""
        return self.values.tensor(self.outputs[place]).dims

    def constant(self, place: int) -> Array | None:
        """Return the value of an input that is constant, else None."""
        return self.values.constant(self.inputs[place]) if self.has(place) else None

    def integers(self, place: int) -> tuple[int, ...] | None:
        """Return the elements of a constant input of integers, else None."""
        found = self.constant(place)
        return None if found is None else tuple(int(i) for i in found.ravel().tolist())

    def axis(self, default: int, rank: int | None = None) -> int:
        """Return the attribute ``axis``, counted from the front."""
        axis = self.attributes.integer("axis", default)
        return axis + (len(self.shape()) if rank is None else rank) if axis < 0 else axis


Reader = Callable[[Reading], Node | Host]


@dataclass(frozen=True, slots=True)
class Registered:
    """A reader, and whether it takes tensors of every element type and shape."""

    read: Reader
    any_type: bool


READERS: dict[tuple[str, int], Registered] = {}
"""Readers by operator and since-version of its schema; a version that is not here is not known."""


def reader(
    op_type: str, *since_versions: int, any_type: bool = False
) -> Callable[[Reader], Reader]:
    """Register a reader for an operator of ONNX at the versions of its schema that it knows."""

    def register(read: Reader) -> Reader:
        for version in since_versions:
            READERS[op_type, version] = Registered(read, any_type)
        return read

    return register
