"""What every float rewrite must keep: the function, the names of outputs, the sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir.verify import verify

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import Pass

SAMPLES = 3


def checked(step: Pass, graph: Graph, *, relative: float = 2e-5) -> Graph:
    """Run a pass and check all that holds of every pass; return what it made.

    The function stays to within ``relative`` of the largest output (0: exactly), a second run
    changes nothing, outputs and inputs keep their names, and the argument stays as it was.
    """
    before = (graph.nodes, dict(graph.constants), dict(graph.types))
    result = step.run(graph)
    after = result.graph
    assert (graph.nodes, graph.types) == (before[0], before[2])
    assert all(graph.constants[name] is array for name, array in before[1].items())
    assert list(verify(after)) == []
    assert (after.inputs, after.outputs) == (graph.inputs, graph.outputs)
    assert result.changed or after is graph
    again = step.run(after)
    assert not again.changed
    assert again.graph.nodes == after.nodes
    assert gap(graph, after) <= relative
    return after


def gap(first: Graph, second: Graph, samples: int = SAMPLES) -> float:
    """Return the largest difference of any output, relative to that output's largest value."""
    feeds = random_feeds(first, samples)
    wanted, found = (FloatSession(g, threads=1).arrays(feeds) for g in (first, second))
    assert set(wanted) == set(found)
    gaps = [0.0]
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        assert np.all(np.isfinite(array))
        before, after = (np.asarray(a, np.float64) for a in (array, found[name]))
        size = max(float(np.max(np.abs(before))), 1e-6)
        gaps.append(float(np.max(np.abs(after - before))) / size)
    return max(gaps)


def random_feeds(graph: Graph, samples: int) -> dict[str, Array]:
    """Draw inputs."""
    random = np.random.default_rng(1)
    feeds: dict[str, Array] = {}
    for name in graph.inputs:
        first, *rest = graph.shape(name)
        feeds[name] = random.normal(0.3, 1.0, (first * samples, *rest)).astype(np.float32)
    return feeds


def kinds(graph: Graph) -> list[str]:
    """Return the operators in order."""
    return [node.op for node in graph.nodes]


def sources_of(graph: Graph) -> set[str]:
    """Return the names of all ONNX nodes that the graph's nodes come from."""
    return {source.node for node in graph.nodes for source in node.sources}
