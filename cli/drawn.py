"""Draw where a network runs, in Graphviz's language."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.checking import Check, CheckedNode


def draw(found: Check) -> str:
    """Return a digraph: a cluster a launch, the CPU's nodes outside, crossings dashed."""
    return "\n".join(_lines(found))


def _lines(found: Check) -> Iterator[str]:
    yield "digraph partition {"
    yield "  node [shape=box, fontname=Helvetica, fontsize=10];"
    numbers = {node.name: f"n{index}" for index, node in enumerate(found.nodes)}
    for launch in sorted({node.launch for node in found.nodes if node.on_chip}):
        yield f"  subgraph cluster_{launch} {{"
        yield f'    label="launch {launch}"; style=filled; color=lightblue;'
        for node in found.nodes:
            if node.on_chip and node.launch == launch:
                yield f"    {_node(numbers[node.name], node)}"
        yield "  }"
    for node in found.nodes:
        if not node.on_chip:
            yield f"  {_node(numbers[node.name], node)}"
    inputs = dict.fromkeys(edge.value for edge in found.edges if not edge.maker)
    for index, value in enumerate(inputs):
        yield f"  i{index} [label={json.dumps(value)}, shape=ellipse];"
    places = {value: f"i{index}" for index, value in enumerate(inputs)}
    for edge in found.edges:
        maker = numbers[edge.maker] if edge.maker else places[edge.value]
        style = " [style=dashed]" if edge.crosses else ""
        yield f"  {maker} -> {numbers[edge.reader]}{style};"
    yield "}"


def _node(number: str, node: CheckedNode) -> str:
    work = f"\n{node.macs:,} MACs" if node.macs else ""
    rule = f"\n{node.reason.partition(':')[0]}" if node.reason else ""
    label = json.dumps(f"{node.op}\n{node.name}{work}{rule}", ensure_ascii=False)
    return f"{number} [label={label}];"
