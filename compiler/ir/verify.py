"""Verifiers: one a stage, each narrower than the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import Diagnostic, error
from lowbitc.compiler.elements import ACCUMULATOR_BITS
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, Stage, Where, reads
from lowbitc.compiler.ir.quantized import DEVICE_OPS, Dequantize, Quantize
from lowbitc.compiler.ir.types import TensorType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.ir.node import Node

_GONE_WHEN_FOLDED = (ops.Identity, ops.BatchNorm)
_QUANTIZED = frozenset({Stage.QUANTIZED, Stage.PARTITIONED})


def verify(graph: Graph) -> Iterator[Diagnostic]:
    """Yield what is wrong with a graph at its stage; nothing when all is well."""
    yield from _definitions(graph)
    if graph.stage is not Stage.IMPORTED:
        for node in graph.nodes:
            if isinstance(node, _GONE_WHEN_FOLDED):
                yield _misplaced(node, graph.stage)
    if graph.stage in _QUANTIZED:
        for node in graph.nodes:
            if isinstance(node, (*DEVICE_OPS, Quantize, Dequantize)):
                yield from _levels(graph, node)
    if graph.stage is Stage.PARTITIONED:
        yield from _regions(graph)


def _definitions(graph: Graph) -> Iterator[Diagnostic]:
    defined = set(graph.inputs)
    for value in graph.constants:
        if value in defined:
            yield error("LB902", f"constant {value} is also an input")
        defined.add(value)
    names: set[str] = set()
    for node in graph.nodes:
        if node.name in names:
            yield error("LB902", f"two nodes are called {node.name}", sources=node.sources)
        names.add(node.name)
        yield from _node_definitions(graph, node, defined)
        defined.update(node.outputs)
    for value in graph.outputs:
        if value not in defined:
            yield error("LB908", f"output {value} is made by nothing")


def _node_definitions(graph: Graph, node: Node, defined: set[str]) -> Iterator[Diagnostic]:
    for value in reads(node):
        if value not in defined:
            yield error(
                "LB901",
                f"{node.name} ({node.op}) reads {value} before it is defined",
                sources=node.sources,
            )
    for value in filter(None, node.outputs):
        if value in defined:
            yield error("LB902", f"{value} is defined twice", sources=node.sources)
        if value not in graph.types:
            yield error("LB903", f"{value} has no type", sources=node.sources)


def _misplaced(node: Node, stage: Stage) -> Diagnostic:
    return error(
        "LB904",
        f"{node.op} {node.name} does not belong in a graph that is {stage.value}",
        sources=node.sources,
    )


def _levels(graph: Graph, node: Node) -> Iterator[Diagnostic]:
    """Check that borders and integer operators read and make levels with scales."""
    values = [v for v in reads(node) if v not in graph.constants]
    wanted = [*([] if isinstance(node, Quantize) else values)]
    wanted += [] if isinstance(node, Dequantize) else [v for v in node.outputs if v]
    for value in wanted:
        held = graph.types.get(value)
        if not isinstance(held, TensorType) or held.levels is None:
            yield error("LB903", f"{value} at {node.name} holds no levels", sources=node.sources)
        elif not held.known or not held.scale:
            yield error(
                "LB903", f"{value} at {node.name} lacks a shape or a scale", sources=node.sources
            )
        elif held.levels.bits == ACCUMULATOR_BITS and not isinstance(node, Dequantize):
            for reader in graph.consumers().get(value, []):
                if not isinstance(reader, Dequantize):
                    yield error(
                        "LB903",
                        f"{reader.name} reads accumulators of {node.name}; only the CPU may",
                        sources=reader.sources,
                    )


def _regions(graph: Graph) -> Iterator[Diagnostic]:
    """Check that regions cover every node once, in an order that can run."""
    order = [name for region in graph.regions for name in region.nodes]
    by_name = {node.name: node for node in graph.nodes}
    if sorted(order) != sorted(by_name):
        odd = sorted(set(order) ^ set(by_name))
        yield error("LB904", f"regions do not cover the nodes once each: {odd[:5]}")
        return
    made = set(graph.inputs) | set(graph.constants)
    for region in graph.regions:
        for name in region.nodes:
            node = by_name[name]
            on_chip = isinstance(node, (*DEVICE_OPS, Quantize, Dequantize))
            if on_chip is not (region.where is Where.DEVICE):
                yield error("LB904", f"{name} is on the wrong side", sources=node.sources)
            for value in reads(node):
                if value not in made:
                    yield error(
                        "LB901", f"{name} runs before {value} is made", sources=node.sources
                    )
            made.update(node.outputs)
