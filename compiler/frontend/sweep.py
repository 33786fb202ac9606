"""One walk over the nodes: infer types, fold constants, read operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx import shape_inference

from lowbitc.compiler.diagnostics import Diagnostic, Source, error, note
from lowbitc.compiler.elements import F32
from lowbitc.compiler.frontend import readers
from lowbitc.compiler.frontend.attributes import Attributes
from lowbitc.compiler.frontend.folding import RANDOM, fold
from lowbitc.compiler.frontend.reading import READERS, Host, Reading
from lowbitc.compiler.frontend.schema import plain_domain, schema_of
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import NodeProto

    from lowbitc.compiler.frontend.schema import Schema
    from lowbitc.compiler.frontend.structure import Step
    from lowbitc.compiler.frontend.values import KnownValues
    from lowbitc.compiler.ir.node import Node

_REGISTERED = readers.FAMILIES
"""Importing the families registered their readers."""


def _nodes() -> list[Node]:
    return []


def _reasons() -> dict[str, str]:
    return {}


def _found() -> list[Diagnostic]:
    return []


@dataclass(frozen=True, slots=True)
class Sweep:
    """Nodes as they are read, why some stay on the CPU, and findings."""

    values: KnownValues
    versions: Mapping[str, int]
    nodes: list[Node] = field(default_factory=_nodes)
    reasons: dict[str, str] = field(default_factory=_reasons)
    found: list[Diagnostic] = field(default_factory=_found)

    def visit(self, step: Step) -> None:
        """Infer, fold and read one node, whose inputs have all been visited."""
        node = step.proto
        domain = plain_domain(node.domain)
        schema = schema_of(node.op_type, domain, self.versions.get(domain, 1))
        try:
            self.values.infer(node, schema, step.captures)
        except shape_inference.InferenceError as reason:
            self.found.append(self._misfit(step, str(reason)))
            return
        if domain == "":
            done = fold(step, self.values, self.versions[""])
            if isinstance(done, Diagnostic):
                self.found.append(done)
            elif done:
                return
            if node.op_type in RANDOM:
                message = f"{step.name} ({node.op_type}) makes random numbers, on the CPU"
                self.found.append(note("LB123", message, sources=[step.source]))
        self._read(step, schema)

    def _misfit(self, step: Step, reason: str) -> Diagnostic:
        shapes = ", ".join(f"{v}: {_spell(self.values.tensor(v))}" for v in step.proto.input if v)
        return error(
            "LB121",
            f"{step.name} ({step.proto.op_type}) does not fit its inputs: {_last_words(reason)}",
            sources=[step.source],
            found=shapes,
            hint="if the model fixes its batch size inside, give that size with --shape",
        )

    def _read(self, step: Step, schema: Schema | None) -> None:
        made = self._typed(step, schema)
        if isinstance(made, Host):
            self.reasons[step.name] = made.reason
            made = ops.HostOp(
                name=step.name,
                inputs=_without_trailing(step.proto.input),
                outputs=_without_trailing(step.proto.output),
                sources=(Source(step.name, step.proto.op_type),),
                domain=plain_domain(step.proto.domain),
                op_type=step.proto.op_type,
                proto=_named(step.proto, step.name),
                captures=step.captures,
            )
        self.nodes.append(made)

    def _typed(self, step: Step, schema: Schema | None) -> Node | Host:
        """Read a node with the reader of its version, or say why it stays as it is."""
        node = step.proto
        if node.domain not in {"", "ai.onnx"} or schema is None:
            spelled = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            return Host(f"{spelled} has no integer form here")
        registered = READERS.get((node.op_type, schema.since))
        if registered is None:
            known = any(op_type == node.op_type for op_type, _ in READERS)
            if known:
                return Host(f"{node.op_type} of opset {schema.since} is newer than this lowbitc")
            return Host(f"{node.op_type} has no integer form here")
        if not registered.any_type:
            for value in (*node.input[:1], *node.output[:1]):
                if reason := _not_typed(self.values.tensor(value)):
                    return Host(f"{value} {reason}")
        reading = Reading(
            step.name,
            node.op_type,
            schema.since,
            _without_trailing(node.input),
            _without_trailing(node.output),
            Attributes.of(node),
            self.values,
        )
        made = registered.read(reading)
        if isinstance(made, Host) or registered.any_type:
            return made
        for value in (*made.inputs, *made.outputs):
            if reason := _not_typed(self.values.tensor(value)):
                return Host(f"{value} {reason}")
        return made


def _not_typed(held: TensorType) -> str:
    """Say why a value is no tensor of a typed operator; "" when it is."""
    if held.shape is None or not held.known:
        return "has a shape that depends on the data"
    if held.element != F32:
        return f"is {held.element.name}, not float32"
    if 0 in held.shape:
        return "is empty"
    return ""


def _without_trailing(values: Sequence[str]) -> tuple[str, ...]:
    kept = list(values)
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)


def _named(proto: NodeProto, name: str) -> bytes:
    if proto.name != name:
        proto.name = name
    return proto.SerializeToString(deterministic=True)


def _spell(held: TensorType) -> str:
    if held.shape is None:
        return "unknown"
    dims = ", ".join("?" if size < 0 else str(size) for size in held.shape)
    return f"{held.element.name} [{dims}]"


def _last_words(reason: str) -> str:
    """Drop the brackets in front of onnx's own message."""
    return reason.rsplit("] ", 1)[-1].strip().rstrip(".")
