"""Import an ONNX model: from a file to a typed graph with static shapes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnx import ModelProto

from lowbitc.compiler.diagnostics import Diagnostic, raise_errors
from lowbitc.compiler.frontend.checks import check_header, check_nodes
from lowbitc.compiler.frontend.constants import load_constants, stated_types, true_inputs
from lowbitc.compiler.frontend.external import ExternalFiles
from lowbitc.compiler.frontend.files import read_model
from lowbitc.compiler.frontend.functions import inline_functions
from lowbitc.compiler.frontend.host import embed_external
from lowbitc.compiler.frontend.schema import ASSUMED_OPSET, plain_domain
from lowbitc.compiler.frontend.screening import screen
from lowbitc.compiler.frontend.shapes import bind_inputs
from lowbitc.compiler.frontend.structure import check_definitions, name_nodes, sort_nodes
from lowbitc.compiler.frontend.sweep import Sweep
from lowbitc.compiler.frontend.values import KnownValues
from lowbitc.compiler.ir.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx import GraphProto

    from lowbitc.compiler.frontend.structure import Step


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
    source = proto.graph
    found = list(check_header(proto))
    readable = not found
    # A model whose nodes are all of other domains need not name an opset of ONNX.
    versions = {"": ASSUMED_OPSET}
    versions |= {plain_domain(one.domain): one.version for one in proto.opset_import}
    nodes, refused = inline_functions(proto, versions)
    steps, lost = embed_external(name_nodes(nodes), files)
    found += [*refused, *lost, *check_definitions(source, steps)]
    steps, moved = sort_nodes(steps)
    found += moved
    inputs = true_inputs(source)
    bound = bind_inputs(inputs, shapes or {})
    found += bound.found
    values = KnownValues(dict(versions), stated_types(source, bound.sizes))
    values.types.update(bound.types)
    found += load_constants(source, steps, files, values)
    if readable:
        found += check_nodes(steps, versions, values.constants)
    found += screen(values.constants, files, steps)
    raise_errors(found)
    outputs = tuple(info.name for info in source.output)
    sweep = Sweep(
        values,
        versions,
        files,
        used={*outputs, *(value for step in steps for value in step.reads())},
        defined=_defined(source, steps),
        names={step.name for step in steps},
    )
    given = set(values.constants)
    for step in steps:
        sweep.visit(step)
    folded = {name: held for name, held in values.constants.items() if name not in given}
    found += [*sweep.found, *screen(folded, files, steps)]
    raise_errors(found)
    graph = Graph(
        name=source.name,
        inputs=tuple(info.name for info in inputs),
        outputs=outputs,
        nodes=tuple(sweep.nodes),
        types=values.types,
        constants=values.constants,
        opset=versions[""],
        domains=tuple(sorted((domain, v) for domain, v in versions.items() if domain)),
        host_reasons=sweep.reasons,
    )
    return Imported(graph.pruned(), tuple(found))


def _defined(graph: GraphProto, steps: Iterable[Step]) -> set[str]:
    """Return the names of all values of the graph itself."""
    held = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    held |= {sparse.values.name for sparse in graph.sparse_initializer}
    return held | {value for step in steps for value in step.proto.output if value}
