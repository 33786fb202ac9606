"""Read one launch: its nodes from the manifest, its constants from the images of its NPs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import Diagnostic, Severity, error, raise_errors
from lowbitc.compiler.elements import element_type
from lowbitc.compiler.ir.graph import Graph, Stage
from lowbitc.compiler.ir.quantized import DEVICE_OPS
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.ir.verify import verify
from lowbitc.targets.placement.layer import describe_layer
from lowbitc.targets.program.assemble import AssemblyError, assemble_constants
from lowbitc.targets.program.check import check_node, check_value
from lowbitc.targets.program.rows import constant_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.program.assemble import Constants
    from lowbitc.targets.program.image import Image
    from lowbitc.targets.program.records import LaunchRecord, ValueRecord

HINT = "compile the model again"


def refuse(code: str, message: str, problem: object = "") -> Diagnostic:
    """Make the finding that a program is not what lowbitc writes."""
    return error(code, message, found=str(problem), hint=HINT)


def read_launch(
    name: str,
    record: LaunchRecord,
    images: Mapping[str, tuple[Image, ...]],
    scales: Mapping[str, Array],
) -> Graph:
    """Return the graph of a launch with its constants; ``images`` are those of each layer.

    Raises CompileError LB616 or LB617 with all that is wrong.
    """
    types = {value.name: _type(value, scales) for value in record.values}
    graph = Graph(
        name=name,
        inputs=record.inputs,
        outputs=record.outputs,
        nodes=record.nodes,
        types=types,
        stage=Stage.QUANTIZED,
    )
    raise_errors(_wrong(*_check_values(record, graph)))
    # A node whose types are wrong would make no sense of its images.
    raise_errors(_wrong(*_check_nodes(graph)))
    constants: dict[str, Array] = {}
    found: list[Diagnostic] = []
    for node in record.nodes:
        try:
            made = _constants(node, graph, images.get(node.name, ()))
        except AssemblyError as problem:
            found.append(refuse("LB616", f"the NPs of {node.name} do not make it up", problem))
            continue
        for constant, (array, held) in made.items():
            before = constants.setdefault(constant, array)
            if not np.array_equal(before, array):
                found += _wrong(f"{node.name}: {constant} is another constant elsewhere")
            types[constant] = held
    raise_errors(found)
    built = graph.replace(constants=constants, types=types)
    raise_errors(_wrong(*(d.message for d in verify(built) if d.severity is Severity.ERROR)))
    return built


def _wrong(*problems: str) -> list[Diagnostic]:
    return [refuse("LB617", "a launch is not what the chip runs", found) for found in problems]


def _type(record: ValueRecord, scales: Mapping[str, Array]) -> TensorType:
    scale: tuple[float, ...] = () if record.scale is None else (record.scale,)
    if record.by_channel:
        held = np.asarray(scales.get(record.name, np.zeros(0)))
        scale = tuple(float(s) for s in np.ravel(held)) if held.dtype.kind == "f" else ()
    return TensorType(record.shape, element_type(record.element), scale)


def _check_values(record: LaunchRecord, graph: Graph) -> Iterator[str]:
    if len(graph.types) != len(record.values):
        yield "two values have the same name"
    for name in graph.types:
        yield from check_value(name, graph.tensor(name))
    for name in record.inputs:
        if name not in graph.types:
            yield f"the input {name} has no type"


def _check_nodes(graph: Graph) -> Iterator[str]:
    made = {value for node in graph.nodes for value in node.outputs} | set(graph.inputs)
    for node in graph.nodes:
        if not all(node.inputs):
            yield f"{node.name}: an input without a name"
            continue
        try:
            names = constant_names(node)
        except ValueError as problem:
            yield f"{node.name}: {problem}"
            continue
        own = [v for v in (names.weight, *names.stage, names.table) if v]
        if made.intersection(own) or len(set(own)) != len(own):
            yield f"{node.name}: a constant is also made, or named twice"
        else:
            yield from (f"{node.name}: {problem}" for problem in check_node(node, graph))


def _constants(node: Node, graph: Graph, images: tuple[Image, ...]) -> Constants:
    """Return a node's constants. Raises AssemblyError."""
    layer = describe_layer(node, graph) if isinstance(node, DEVICE_OPS) else None
    if (layer is None) is not (not images):
        message = f"{len(images)} NPs"
        raise AssemblyError(message)
    return {} if layer is None else assemble_constants(node, graph, layer, images)
