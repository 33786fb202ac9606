"""One walk over the nodes: infer types, fold constants, read operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx import checker, shape_inference

from lowbitc.compiler.diagnostics import Diagnostic, error, note, warning
from lowbitc.compiler.elements import F32
from lowbitc.compiler.frontend import readers
from lowbitc.compiler.frontend.attributes import Attributes
from lowbitc.compiler.frontend.branches import taken_branch
from lowbitc.compiler.frontend.checks import check_nodes
from lowbitc.compiler.frontend.constants import load_constants
from lowbitc.compiler.frontend.folding import RANDOM, fold
from lowbitc.compiler.frontend.host import host_op, without_trailing
from lowbitc.compiler.frontend.qonnx import evaluate, is_qonnx
from lowbitc.compiler.frontend.reading import READERS, Host, Reading, Registered
from lowbitc.compiler.frontend.schema import plain_domain, schema_of
from lowbitc.compiler.frontend.screening import screen
from lowbitc.compiler.ir.types import OpaqueType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import NodeProto

    from lowbitc.compiler.frontend.external import ExternalFiles
    from lowbitc.compiler.frontend.schema import Schema
    from lowbitc.compiler.frontend.structure import Step
    from lowbitc.compiler.frontend.values import KnownValues
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import TensorType

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
    """Nodes as they are read, why some stay on the CPU, and findings.

    ``used`` are values that anything reads, ``defined`` all values, ``names`` those of nodes.
    """

    values: KnownValues
    versions: Mapping[str, int]
    files: ExternalFiles
    used: set[str]
    defined: set[str]
    names: set[str]
    nodes: list[Node] = field(default_factory=_nodes)
    reasons: dict[str, str] = field(default_factory=_reasons)
    found: list[Diagnostic] = field(default_factory=_found)

    def visit(self, step: Step) -> None:
        """Infer, fold and read one node, whose inputs have all been visited."""
        node = step.proto
        if all(value in self.values.constants for value in node.output if value):
            return
        domain = plain_domain(node.domain)
        if node.op_type == "If" and not domain and self._visit_branch(step):
            return
        schema = schema_of(node.op_type, domain, self.versions.get(domain, 1))
        misfit = self._infer(step, schema)
        if domain == "":
            done = fold(step, self.values, self.versions[""])
            if isinstance(done, Diagnostic):
                self.found.append(done)
            elif done:
                return
            if node.op_type in RANDOM:
                message = f"{step.name} ({node.op_type}) makes random numbers, on the CPU"
                self.found.append(note("LB123", message, sources=[step.source]))
        elif is_qonnx(domain, node.op_type) and self._fold_quantizer(step):
            return
        if misfit:
            self._report_misfit(step, misfit, schema)
        self._read(step, schema)

    def _infer(self, step: Step, schema: Schema | None) -> str:
        """Infer the types of a node's outputs; return why its inputs do not fit, if so."""
        try:
            self.values.infer(step.proto, schema, step.captures)
        except (checker.ValidationError, shape_inference.InferenceError, ValueError) as reason:
            self.values.infer(step.proto, None, ())
            return _last_words(str(reason))
        return ""

    def _fold_quantizer(self, step: Step) -> bool:
        """Give what a quantizer of QONNX makes its type, and fold it where it reads constants."""
        node = step.proto
        before, output = self.values.tensor(node.input[0]), node.output[0]
        self.values.types[output] = before
        args = [self.values.constant(value) for value in node.input]
        known = [array for array in args if array is not None]
        if len(known) < len(args):
            return False
        made = evaluate(node.op_type, known, Attributes.of(node))
        if made is None:
            return False
        self.values.add_constant(output, made, F32)
        return True

    def _visit_branch(self, step: Step) -> bool:
        """Visit the branch of an If with a constant condition in its place."""
        condition = self.values.constant(step.proto.input[0])
        if condition is None or condition.size != 1:
            return False
        branch = taken_branch(step, condition, self.defined, self.names)
        if branch is None:
            return False
        before = set(self.values.constants)
        self.found.extend(load_constants(branch.graph, branch.steps, self.files, self.values))
        self.found.extend(check_nodes(branch.steps, self.versions, self.values.constants))
        loaded = {k: v for k, v in self.values.constants.items() if k not in before}
        self.found.extend(screen(loaded, self.files, branch.steps))
        self.used.update(value for inner in branch.steps for value in inner.reads())
        for inner in branch.steps:
            self.visit(inner)
        return True

    def _report_misfit(self, step: Step, reason: str, schema: Schema | None) -> None:
        """Report inputs that do not fit, as an error where the operator is a typed one.

        Of others, of sequences most of all, onnx knows less than ONNX Runtime, which may run them.
        """
        inputs = [value for value in step.proto.input if value]
        typed = schema is not None and (step.proto.op_type, schema.since) in READERS
        if not typed and any(isinstance(self.values.types.get(v), OpaqueType) for v in inputs):
            return
        report = error if typed else warning
        self.found.append(
            report(
                "LB121",
                f"{step.name} ({step.proto.op_type}) does not fit its inputs: {reason}",
                sources=[step.source],
                found=", ".join(f"{v}: {_spell(self.values.tensor(v))}" for v in inputs),
                hint="if the model fixes its batch size inside, give that size with --shape",
            )
        )

    def _read(self, step: Step, schema: Schema | None) -> None:
        made = self._typed(step, schema.since if schema else 0)
        if isinstance(made, Host) and is_qonnx(plain_domain(step.proto.domain), step.proto.op_type):
            self.found.append(
                error(
                    "LB135",
                    f"{step.name} ({step.proto.op_type}) cannot be read: {made.reason}",
                    sources=[step.source],
                    allowed="Quant with one constant scale, rounding half to even, of activations; "
                    "Quant and BipolarQuant of weights",
                    hint="export the model as QDQ, or with another quantizer here",
                )
            )
        if isinstance(made, Host):
            self.reasons[step.name] = made.reason
            made = host_op(step)
        self.nodes.append(made)

    def _typed(self, step: Step, version: int) -> Node | Host:
        """Read a node with the reader of its version, or say why it stays as it is."""
        node = step.proto
        registered = _reader_of(node, version)
        if isinstance(registered, Host):
            return registered
        if not registered.any_type and (found := self._untyped(*node.input[:1], *node.output[:1])):
            return found
        made = registered.read(
            Reading(
                step.name,
                node.op_type,
                version,
                without_trailing(node.input),
                without_trailing(node.output),
                Attributes.of(node),
                self.values,
                self.used,
            )
        )
        if isinstance(made, Host) or registered.any_type:
            return made
        return self._untyped(*made.inputs, *made.outputs) or made

    def _untyped(self, *values: str) -> Host | None:
        """Return why a node with these values has no typed form, if it has none."""
        for value in values:
            if reason := _not_typed(self.values.tensor(value)):
                return Host(f"{value} {reason}")
        return None


def _reader_of(node: NodeProto, version: int) -> Registered | Host:
    if is_qonnx(node.domain, node.op_type):
        return READERS[node.op_type, 0]
    if plain_domain(node.domain):
        return Host(f"{node.domain}.{node.op_type} has no integer form here")
    if (node.op_type, version) in READERS:
        return READERS[node.op_type, version]
    if any(op_type == node.op_type for op_type, _ in READERS):
        return Host(f"{node.op_type} of opset {version} is newer than this lowbitc")
    return Host(f"{node.op_type} has no integer form here")


def _not_typed(held: TensorType) -> str:
    """Say why a value is no tensor of a typed operator; "" when it is."""
    if held.shape is None or not held.known:
        return "has a shape that depends on the data"
    if held.element != F32:
        return f"is {held.element.name}, not float32"
    if 0 in held.shape:
        return "is empty"
    return ""


def _spell(held: TensorType) -> str:
    if held.shape is None:
        return "unknown"
    dims = ", ".join("?" if size < 0 else str(size) for size in held.shape)
    return f"{held.element.name} [{dims}]"


def _last_words(reason: str) -> str:
    """Drop the brackets in front of onnx's own message."""
    return reason.rsplit("] ", 1)[-1].strip().rstrip(".")
