"""Launches that show all their values, and run on with one of them replaced.

Not an engine: for looking into a program, by the compiler's own integer kernels, which give the
bits that every engine gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.execute_fractions import run_between_levels
from lowbitc.compiler.execute_levels import LevelSession

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.engines.events import Counts
    from lowbitc.targets.program.program import Launch, Program


class TracedLaunch:
    """A launch whose values are kept: ``values`` are those of the last batch that was traced."""

    def __init__(self, graph: Graph, threads: int) -> None:
        """Prepare a launch."""
        self.graph = graph
        self.session = LevelSession(graph, threads=threads)
        self.values: dict[str, Array] = {}
        self.keep = True
        self.reuse = False
        self.replaced: dict[str, Array] = {}

    def run(self, inputs: Mapping[str, Array], counts: Counts | None = None) -> dict[str, Array]:
        """Return the launch's outputs; nothing is counted."""
        del counts
        outputs = self.graph.outputs
        if self.reuse:
            return {value: self.values[value] for value in outputs}
        values = {v: np.asarray(inputs[v]) for v in self.graph.inputs}
        nodes: Iterator[Node] = iter(self.graph.nodes)
        if self.replaced:
            values = {**self.values, **self.replaced}
            nodes = _behind(self.graph, set(self.replaced))
        for node in nodes:
            values.update(run_between_levels(self.session, node, values))
        if self.keep:
            self.values = values
        return {value: values[value] for value in outputs}


def _behind(graph: Graph, changed: set[str]) -> Iterator[Node]:
    """Yield the nodes that a change of values reaches, but not those that made them."""
    given = frozenset(changed)
    for node in graph.nodes:
        if changed.intersection(node.inputs) and not given.intersection(node.outputs):
            changed.update(node.outputs)
            yield node


class Tracer:
    """Makes traced launches for a Simulator, in the order of the program's steps."""

    def __init__(self) -> None:
        """Start without launches."""
        self.launches: list[TracedLaunch] = []

    def make(self, program: Program, launch: Launch, threads: int) -> TracedLaunch:
        """Prepare the next launch of a program."""
        del program
        self.launches.append(TracedLaunch(launch.graph, threads))
        return self.launches[-1]

    def record(self) -> None:
        """Let the next batch run as it is, and keep its values."""
        for launch in self.launches:
            launch.keep, launch.reuse, launch.replaced = True, False, {}

    def replace(self, number: int, value: str, array: Array) -> None:
        """Let the batch that was recorded run again with another value in a launch.

        ``array`` are levels, or float32 in units of levels. What comes before is not run again.
        """
        for index, launch in enumerate(self.launches):
            launch.keep = False
            launch.reuse = index < number
            launch.replaced = {value: array} if index == number else {}
