"""A network with what the CPU runs of it, from the graph's inputs to its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from lowbitc.passes.replay import list_steps
from lowbitc.training.host import constant, is_known, run_on_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.ir.node import Node
    from lowbitc.training.network import QuantizedNetwork


class WholeNetwork(nn.Module):
    """Chip and CPU together, so that the chip's layers learn what the outputs need.

    Use it where ``is_whole`` says so. ``sources`` are the graph's inputs, ``results`` its outputs.
    """

    def __init__(self, network: QuantizedNetwork) -> None:
        """Put a network into what surrounds it."""
        super().__init__()
        self.network = network
        graph = network.graph
        self.sources, self.results = tuple(graph.inputs), tuple(graph.outputs)
        self.steps = list_steps(graph)
        read = (v for step in self.steps if step.on_host for v in step.inputs)
        self.constants = tuple(dict.fromkeys(v for v in read if v in graph.constants))
        for number, name in enumerate(self.constants):
            self.register_buffer(f"constant{number}", constant(graph, name), persistent=False)

    def forward(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the real values of ``results``, n samples joined along axis 0."""
        network, graph = self.network, self.network.graph
        levels: dict[str, Tensor] = {}
        real = dict(feeds)
        held = {name: self.get_buffer(f"constant{i}") for i, name in enumerate(self.constants)}
        count = len(next(iter(feeds.values()))) // graph.shape(self.sources[0])[0]

        def apart(name: str) -> Tensor | None:
            """Return a value as [n, *shape], or a constant as [1, *shape]."""
            if not name or name in held:
                return held.get(name)
            return whole(name).reshape(count, *graph.shape(name))

        def whole(name: str) -> Tensor:
            if name not in real:
                real[name] = network.reals(levels, (name,))[name]
            return real[name]

        index = 0
        for step in self.steps:
            if step.on_host:
                node: Node = step.nodes[0]
                found = run_on_host(node, graph, [apart(v) for v in node.inputs])
                for name, value in zip(node.outputs, found, strict=True):
                    real[name] = value.flatten(0, 1)
                continue
            for name in step.inputs:
                if name not in levels and name not in graph.constants:
                    levels[name] = network.quantizer(name).levels(whole(name), half_even=True)
            levels[step.outputs[0]] = network.run_step(index, step, levels)
            index += 1
        return {name: whole(name) for name in self.results}


def is_whole(network: QuantizedNetwork) -> bool:
    """Whether the CPU runs some of a network, and all that it runs is known."""
    graph = network.graph
    nodes = [node for s in list_steps(graph) if s.on_host for node in s.nodes]
    return bool(nodes) and all(is_known(graph, node) for node in nodes)
