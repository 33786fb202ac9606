"""Checks of a model's header and of its nodes against the schemas of their operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import AttributeProto, defs

from lowbitc.compiler.diagnostics import Diagnostic, error, warning
from lowbitc.compiler.frontend.attributes import Attributes
from lowbitc.compiler.frontend.qonnx import is_qonnx
from lowbitc.compiler.frontend.schema import OLDEST_OPSET, plain_domain, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnx import ModelProto

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.frontend.schema import Schema
    from lowbitc.compiler.frontend.structure import Step

_ANY_NUMBER = 2**31 - 1
_TRAINING_INPUT = 2
_BATCH_NORM_BY_OUTPUTS = 14
"""Before this version, a BatchNormalization that gives its statistics is a training one."""
_INTEGER = frozenset(
    {
        "DynamicQuantizeLinear",
        *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
    }
)


def check_header(model: ModelProto) -> Iterator[Diagnostic]:
    """Yield what is wrong with the operator sets and the outputs of a model."""
    newest = defs.onnx_opset_version()
    versions = {plain_domain(one.domain): one.version for one in model.opset_import}
    allowed = f"opset {OLDEST_OPSET} to {newest}"
    if "" not in versions and any(not plain_domain(node.domain) for node in model.graph.node):
        message = "the model does not say which opset of ONNX it is written for"
        yield error("LB104", message, found="no opset_import", allowed=allowed)
    elif versions.get("", newest) < OLDEST_OPSET:
        yield error(
            "LB104",
            f"opset {versions['']} is too old: its operators broadcast in another way",
            found=f"opset {versions['']}",
            allowed=allowed,
            hint="export the model again with a newer opset, or use onnx.version_converter",
        )
    elif versions.get("", newest) > newest:
        yield error(
            "LB104",
            f"opset {versions['']} is newer than the installed onnx knows",
            found=f"opset {versions['']}",
            allowed=allowed,
            hint=f"update onnx, or export the model with opset {newest} or lower",
        )
    if not model.graph.output:
        yield error(
            "LB119",
            "the model has no outputs",
            allowed="at least one output",
            hint="mark the values that are wanted as outputs when exporting",
        )


def check_nodes(
    steps: Sequence[Step], versions: Mapping[str, int], constants: Mapping[str, Array]
) -> Iterator[Diagnostic]:
    """Yield what is wrong with nodes; operators that nobody knows, once an operator."""
    unknown: dict[str, list[Step]] = {}
    quantized: list[Step] = []
    for step in steps:
        node = step.proto
        domain = plain_domain(node.domain)
        if domain not in versions:
            yield error(
                "LB104",
                f"{step.name} ({node.op_type}) is of the domain {domain}, "
                "of which the model imports no version",
                sources=[step.source],
                allowed=", ".join(sorted(d or "ai.onnx" for d in versions)),
                hint="add the domain to opset_import",
            )
            continue
        schema = schema_of(node.op_type, domain, versions[domain])
        if is_qonnx(domain, node.op_type):
            continue
        if schema is None:
            unknown.setdefault(f"{domain or 'ai.onnx'}.{node.op_type}", []).append(step)
            continue
        if schema.deprecated:
            yield error(
                "LB105",
                f"{step.name}: {node.op_type} was withdrawn in opset {schema.since}",
                sources=[step.source],
                hint=f"export the model with an opset below {schema.since}",
            )
            continue
        training = _training(step, schema, constants)
        if training is not None:
            yield training
        yield from _attributes(step, schema)
        if node.op_type in _INTEGER:
            quantized.append(step)
    for name, users in sorted(unknown.items()):
        yield warning(
            "LB105",
            f"{name} is unknown; {_count(users)} on the CPU, with shapes as the model states them",
            sources=[step.source for step in users],
            hint="check that ONNX Runtime has it, and the spelling of its domain",
        )
    if quantized:
        yield warning(
            "LB122",
            f"the model computes with integers; {_count(quantized)} on the CPU",
            sources=[step.source for step in quantized],
            hint="export it with QuantizeLinear and DequantizeLinear around float operators, or "
            "compile the float model that it was made from",
        )


def _count(steps: Sequence[Step]) -> str:
    return "1 node stays" if len(steps) == 1 else f"{len(steps)} nodes stay"


def _attributes(step: Step, schema: Schema) -> Iterator[Diagnostic]:
    """Yield attributes that the operator does not have, lacks, or has of another kind."""
    node = step.proto
    operator = f"{node.op_type} of opset {schema.since}"
    for held in node.attribute:
        kind = schema.attributes.get(held.name)
        if kind is None:
            yield error(
                "LB118",
                f"{step.name}: {operator} has no attribute {held.name}",
                sources=[step.source],
                found=held.name,
                allowed=", ".join(sorted(schema.attributes)) or "no attributes",
                hint="the exporter and its opset do not agree; export the model again",
            )
        elif held.type != kind:
            yield error(
                "LB118",
                f"{step.name}: the attribute {held.name} of {operator} has the wrong kind",
                sources=[step.source],
                found=AttributeProto.AttributeType.Name(held.type),
                allowed=AttributeProto.AttributeType.Name(
                    AttributeProto.AttributeType.ValueType(kind)
                ),
            )
    given = {held.name for held in node.attribute}
    for name in sorted(schema.required - given):
        yield error(
            "LB118",
            f"{step.name}: {operator} needs the attribute {name}",
            sources=[step.source],
            found=", ".join(sorted(given)) or "no attributes",
            allowed=name,
        )
    count = len(node.input)
    if not schema.fewest_inputs <= count <= schema.most_inputs:
        most = schema.most_inputs
        upper = "any number" if most >= _ANY_NUMBER else str(most)
        yield error(
            "LB118",
            f"{step.name}: {operator} does not take {count} inputs",
            sources=[step.source],
            found=f"{count} inputs",
            allowed=f"{schema.fewest_inputs} to {upper}",
        )


def _training(step: Step, schema: Schema, constants: Mapping[str, Array]) -> Diagnostic | None:
    """Find batch normalisation and dropout that behave as in training."""
    node, held = step.proto, Attributes.of(step.proto)
    found = ""
    if node.op_type == "BatchNormalization":
        statistics = [value for value in node.output[1:] if value]
        if held.integer("training_mode", 0):
            found = "training_mode=1"
        elif "is_test" in held and not held.integer("is_test", 0):
            found = "is_test=0"
        elif statistics and schema.since < _BATCH_NORM_BY_OUTPUTS:
            found = f"outputs {', '.join(statistics)}"
    elif node.op_type == "Dropout" and len(node.input) > _TRAINING_INPUT:
        mode, ratio = constants.get(node.input[_TRAINING_INPUT]), constants.get(node.input[1])
        if mode is not None and mode.any() and (ratio is None or ratio.any()):
            found = "training_mode=1"
    if not found:
        return None
    return error(
        "LB111",
        f"{step.name}: {node.op_type} is in training mode",
        sources=[step.source],
        found=found,
        allowed="inference",
        hint="call model.eval() before torch.onnx.export, or training=TrainingMode.EVAL",
    )
