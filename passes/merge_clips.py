"""Merge clips of clips, and call a clip at zero a ReLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.passes.edit import Edit, joined_sources

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult


@dataclass(frozen=True, slots=True)
class MergeClips:
    """Make Relu, Clamp and LeakyRelu(0) behind each other one Clamp; a Relu where that is all.

    clamp(clamp(x, l, h), low, high) = clamp(x, clamp(l, low, high), clamp(h, low, high)). A clip
    with other readers stays.
    """

    name: ClassVar[str] = "merge-clips"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with one clip where several followed each other."""
        edit = Edit(graph)
        for node in graph.nodes:
            bounds = clip_of(node)
            if bounds is None:
                continue
            value, sources = node.inputs[0], node.sources
            inner = edit.maker(value)
            inside = clip_of(inner) if inner is not None else None
            if inner is not None and inside is not None and edit.read_once(value):
                bounds = _within(inside[0], bounds), _within(inside[1], bounds)
                value, sources = inner.inputs[0], joined_sources(inner, node)
            relu = ops.Relu(name=node.name, inputs=(value,), outputs=node.outputs, sources=sources)
            merged = _clip(relu, *bounds)
            if merged != node:
                edit.put(merged)
        return edit.done()


def clip_of(node: Node) -> tuple[float, float] | None:
    """Return the bounds of a node that is a clip by numbers, else None."""
    if isinstance(node, ops.Relu) or (isinstance(node, ops.LeakyRelu) and node.alpha == 0):
        return 0.0, np.inf
    if isinstance(node, ops.Clamp) and node.low <= node.high:
        return node.low, node.high
    return None


def _within(bound: float, outer: tuple[float, float]) -> float:
    return min(max(bound, outer[0]), outer[1])


def _clip(like: ops.Relu, low: float, high: float) -> Node:
    if low == 0 and high == np.inf:
        return like
    return ops.Clamp(
        name=like.name,
        inputs=like.inputs,
        outputs=like.outputs,
        sources=like.sources,
        low=low,
        high=high,
    )
