"""Write what became of each node into a copy of the user's model, where Netron shows it.

Every node gets ``metadata_props`` whose keys begin with ``lowbitc.``; nothing else changes, so the
copy computes what the model does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import ModelProto

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error
from lowbitc.compiler.frontend.files import read_model
from lowbitc.compiler.frontend.structure import name_nodes
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.replace_file import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from onnx import NodeProto

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.placement.model import NeuralProcessor
    from lowbitc.targets.program.program import Program

PREFIX = "lowbitc."

Facts = dict[str, str]


def write_annotated(
    model: Path, program: Program, path: Path, measured: Mapping[str, Mapping[str, str]]
) -> None:
    """Write an annotated copy of a model; ``measured`` are further facts by name of a layer.

    Tensors in other files stay there. Raises CompileError LB773 where the copy cannot be written,
    or would lie away from them.
    """
    proto = read_model(model)
    if _has_files(proto) and path.resolve().parent != model.resolve().parent:
        raise CompileError([_refusal(path, "the model keeps tensors in files beside it")])
    try:
        replace_file(path, [annotate(proto, program, measured).SerializeToString()])
    except OSError as problem:
        raise CompileError([_refusal(path, str(problem))]) from problem


def annotate(
    model: ModelProto, program: Program, measured: Mapping[str, Mapping[str, str]]
) -> ModelProto:
    """Return a copy of a model whose nodes say what became of them."""
    copy = ModelProto()
    copy.CopyFrom(model)
    facts = facts_by_node(program, measured)
    for step in name_nodes(copy.graph.node):
        _put(step.proto, facts.get(step.name, {}))
    return copy


def facts_by_node(program: Program, measured: Mapping[str, Mapping[str, str]]) -> dict[str, Facts]:
    """Return what there is to say of each node of the model, by its name."""
    found: dict[str, Facts] = {}
    placed = program.placement.of_layer()
    for number, launch in enumerate(program.launches):
        for node in launch.graph.nodes:
            if not isinstance(node, q.DEVICE_OPS):
                continue
            facts = {
                "device": f"{program.target}, launch {number}",
                **_layer_facts(node, launch.graph, placed.get(node.name, ())),
                **measured.get(node.name, {}),
            }
            for source in node.sources:
                _merge(found.setdefault(source.node, {}), facts)
    for step in program.host_steps:
        for held in step.nodes:
            facts = {"device": "CPU"}
            if held.reason:
                facts["reason"] = held.reason
            for source in held.sources:
                _merge(found.setdefault(source.node, {}), facts)
    return found


def _merge(into: Facts, facts: Facts) -> None:
    """Join what several layers that one node became have to say."""
    for key, value in facts.items():
        before = into.get(key)
        into[key] = value if before in {None, value} else f"{before}; {value}"


def _layer_facts(node: Node, graph: Graph, processors: tuple[NeuralProcessor, ...]) -> Facts:
    output = graph.tensor(node.outputs[0])
    facts = {"layer": node.name, "operator": node.op, "output": output.element.name}
    if len(output.scale) == 1:
        facts["scale"] = repr(output.scale[0])
        if output.levels is not None:
            facts["clip"] = repr(output.scale[0] * output.levels.maximum)
    elif output.scale:
        facts["scale"] = f"one a channel, {len(output.scale)} of them"
    if isinstance(node, q.WEIGHTED):
        weights = graph.tensor(node.inputs[1])
        facts["weights"] = weights.element.name
    if isinstance(node, q.StagedNode):
        facts["stage"] = node.stage.value
    if processors:
        facts["nps"] = " ".join(f"{p.x},{p.y}" for p in processors)
    return facts


def _put(node: NodeProto, facts: Facts) -> None:
    kept = [(p.key, p.value) for p in node.metadata_props if not p.key.startswith(PREFIX)]
    del node.metadata_props[:]
    for key, value in (*kept, *((f"{PREFIX}{key}", value) for key, value in facts.items())):
        entry = node.metadata_props.add()
        entry.key, entry.value = key, value


def _has_files(model: ModelProto) -> bool:
    return any(True for _ in _tensors_outside(model))


def _tensors_outside(model: ModelProto) -> Iterator[str]:
    for tensor in model.graph.initializer:
        if tensor.external_data:
            yield tensor.name


def _refusal(path: Path, found: str) -> Diagnostic:
    return error(
        "LB773",
        f"the annotated model cannot be written to {path}",
        found=found,
        allowed="a path that can be written; beside the model where its tensors are in other files",
        hint="choose another path for --annotate",
    )
