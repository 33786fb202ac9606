"""Import an ONNX model: from a file to a typed graph with static shapes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import ModelProto

from lowbitc.compiler.diagnostics import Diagnostic, Severity, error, raise_errors
from lowbitc.compiler.frontend.checks import check_header, check_nodes
from lowbitc.compiler.frontend.constants import load_constants, stated_types, true_inputs
from lowbitc.compiler.frontend.external import ExternalFiles
from lowbitc.compiler.frontend.files import read_model
from lowbitc.compiler.frontend.schema import plain_domain
from lowbitc.compiler.frontend.screening import screen
from lowbitc.compiler.frontend.shapes import bind_inputs
from lowbitc.compiler.frontend.structure import check_definitions, name_nodes, sort_nodes
from lowbitc.compiler.frontend.sweep import Sweep
from lowbitc.compiler.frontend.values import KnownValues
from lowbitc.compiler.ir.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence



@dataclass(frozen=True, slots=True)
class Imported:
    """A graph as it was read, and what was noticed on the way (no errors)."""

    graph: Graph
    diagnostics: tuple[Diagnostic, ...]


def import_model(
    model: str | Path | ModelProto,
    *,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> Imported:
    """Read an ONNX model, opsets 7 to the newest that the installed onnx knows.

    ``shapes`` bind dimensions of inputs; None stands for the batch, which is compiled as 1.
    Raises CompileError with every finding of the model when one of them is an error.
    """
    if isinstance(model, ModelProto):
        proto, files = model, ExternalFiles(None)
    else:
        path = Path(model)
        proto, files = read_model(path), ExternalFiles(path.parent)
    found = list(check_header(proto))
    versions = {plain_domain(one.domain): one.version for one in proto.opset_import}
    steps = name_nodes(proto.graph)
    found += check_definitions(proto.graph, steps)
    steps, moved = sort_nodes(steps)
    found += moved
    if not _errors(found):
        found += check_nodes(steps, versions)
    inputs = true_inputs(proto.graph)
    bound = bind_inputs(inputs, shapes or {})
    found += bound.found
    values = KnownValues(tuple(proto.opset_import), stated_types(proto.graph, bound.sizes))
    values.types.update(bound.types)
    found += load_constants(proto.graph, steps, files, values)
    found += screen(values.constants, files, steps)
    raise_errors(found)
    sweep = Sweep(values, versions)
    for step in steps:
        if any(value and value not in values.constants for value in step.proto.output):
            sweep.visit(step)
    found += sweep.found
    raise_errors(found)
    graph = Graph(
        name=proto.graph.name,
        inputs=tuple(info.name for info in inputs),
        outputs=tuple(info.name for info in proto.graph.output),
        nodes=tuple(sweep.nodes),
        types=values.types,
        constants=values.constants,
        opset=versions[""],
        domains=tuple(sorted((d, v) for d, v in versions.items() if d)),
        host_reasons=sweep.reasons,
    )
    return Imported(graph.pruned(), tuple(found))


def _errors(found: Iterable[Diagnostic]) -> bool:
    return any(one.severity is Severity.ERROR for one in found)
