"""Print a graph in the text form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import AttributeProto, NodeProto

from lowbitc.compiler.ir.ops import HostOp
from lowbitc.compiler.text.arrays import spell_array
from lowbitc.compiler.text.fields import spell_attributes
from lowbitc.compiler.text.scanner import quote, spell_value
from lowbitc.compiler.text.types import spell_element, spell_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

FORMAT = "lowbitc-ir 1"


def print_graph(graph: Graph, *, elide: bool = False) -> str:
    """Return the text form of a graph.

    With ``elide``, long constants and the bytes of host operators are left out, their SHA-256 in
    their place: shorter to read, but it does not parse back.
    """
    return "\n".join(_lines(graph, elide=elide)) + "\n"


def _lines(graph: Graph, *, elide: bool) -> Iterator[str]:
    domains = _listed(f"{quote(domain)} {version}" for domain, version in graph.domains)
    yield FORMAT
    yield (
        f"graph {quote(graph.name)} "
        f"{{stage={graph.stage.value}, opset={graph.opset}, domains=({domains})}}"
    )
    yield from (f"input {_typed(graph, value)}" for value in graph.inputs)
    yield from (f"output {spell_value(value)}" for value in graph.outputs)
    for node in graph.nodes:
        yield _spell_node(graph, node, elide=elide)
    for value, clip in graph.clips.items():
        spelled = f"clip {spell_value(value)} : {spell_element(clip.element)} * {clip.scale!r}"
        yield f"{spelled} zero {clip.zero}" if clip.zero else spelled
    for value, gains in graph.gains.items():
        yield f"gain {spell_value(value)} : [{_listed(repr(gain) for gain in gains)}]"
    yield from (f"rotated {spell_value(value)}" for value in graph.rotated)
    for name, reason in graph.host_reasons.items():
        yield f"host {quote(name)} : {quote(reason)}"
    for region in graph.regions:
        yield f"region {region.where.value} [{_listed(quote(name) for name in region.nodes)}]"
    made = {*graph.inputs, *graph.constants, *(v for node in graph.nodes for v in node.outputs)}
    yield from (f"type {_typed(graph, value)}" for value in graph.types if value not in made)
    for value, array in graph.constants.items():
        first, *block = spell_array(array, graph.types.get(value), elide=elide)
        yield f"constant {_typed(graph, value)} = {first}"
        yield from (f"  {line}" for line in block)


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def _typed(graph: Graph, value: str) -> str:
    held = graph.types.get(value)
    return spell_value(value) + (f" : {spell_type(held)}" if held is not None else "")


def _spell_node(graph: Graph, node: Node, *, elide: bool) -> str:
    outputs = _listed(_typed(graph, value) for value in node.outputs)
    inputs = _listed(spell_value(value) for value in node.inputs)
    sources = _listed(f"{quote(source.node)} {quote(source.op)}" for source in node.sources)
    made = f"{outputs} = " if node.outputs else "= "
    comment = _attributes_of_host(node) if elide and isinstance(node, HostOp) else ""
    return (
        f"{made}{node.op} {quote(node.name)} ({inputs})"
        f"{spell_attributes(node, elide=elide)} from [{sources}]{comment}"
    )


def _attributes_of_host(node: HostOp) -> str:
    """Say in a comment what the bytes that were left out say in short."""
    said: list[str] = []
    for attribute in NodeProto.FromString(node.proto).attribute:
        held: Sequence[int] | Sequence[float] | Sequence[bytes] | int | float | bytes
        if attribute.type == AttributeProto.INT:
            held = attribute.i
        elif attribute.type == AttributeProto.FLOAT:
            held = attribute.f
        elif attribute.type == AttributeProto.STRING:
            held = attribute.s
        elif attribute.type == AttributeProto.INTS:
            held = list(attribute.ints)
        elif attribute.type == AttributeProto.FLOATS:
            held = list(attribute.floats)
        else:
            said.append(attribute.name)
            continue
        said.append(f"{attribute.name}={held!r}")
    return f"  # {', '.join(said)}" if said else ""
