"""Choose from which sum on each binary feature in front of a learning layer is active."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.elements import U1
from lowbitc.compiler.execute_levels import LevelSession
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.manager import PassResult
from lowbitc.compiler.numerics import spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lowbitc.compiler.elements import Array, Int32, Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

ACTIVE = 0.1
"""Share of the places of a channel that are active: patterns that are sparse, and no two alike."""
_MOVES = (q.QMaxPool, q.QReshape, q.QTranspose)


@dataclass(frozen=True, slots=True)
class ChooseFeatures:
    """Set the threshold of each channel that the last dense layer reads as 1-bit levels.

    The step of least squared error stands for the few largest values of a tensor, and leaves most
    channels silent; here every channel tells its largest tenth from the rest.
    """

    name: ClassVar[str] = "choose-features"
    samples: Callable[[], Iterator[dict[str, Array]]]
    threads: int = 1

    def run(self, graph: Graph) -> PassResult:
        """Return the quantized graph with other thresholds; without such features, as it is."""
        path = _path(graph)
        maker = path[0] if path else None
        if not isinstance(maker, q.StagedNode) or maker.stage is not q.Stage.THRESHOLDS:
            return PassResult(graph, changed=False)
        sums = self._sums(graph, maker)
        for node in path[1:]:
            if isinstance(node, q.QMaxPool):
                sums = spec.max_pool(sums, node.kernel, node.stride, node.dilation, node.pads)
        thresholds = maker.inputs[2]
        axis = sums.ndim - 1 if isinstance(maker, q.QDense) else 1
        chosen = _largest_share(np.moveaxis(sums, axis, 0).reshape(sums.shape[axis], -1))
        constants = {**graph.constants, thresholds: chosen[:, None]}
        return PassResult(graph.replace(constants=constants), changed=True)

    def _sums(self, graph: Graph, maker: q.StagedNode) -> Int64:
        """Return the sums of a layer on all samples."""
        samples = list(self.samples())
        feeds = {v: np.concatenate([sample[v] for sample in samples]) for v in graph.inputs}
        value = maker.inputs[0]
        before = LevelSession(graph.replace(outputs=(value,)).pruned(), threads=self.threads)
        x = before.run(feeds)[value]
        found = LevelSession(graph, threads=self.threads).sums(maker, x)
        return np.asarray(np.rint(found), np.int64)


def _path(graph: Graph) -> list[Node]:
    """Return the layer that makes the binary features, and what moves them to the last layer."""
    makers = graph.producers()
    last = next((n for n in reversed(graph.nodes) if isinstance(n, q.QDense)), None)
    if last is None or graph.tensor(last.inputs[0]).levels != U1:
        return []
    node = makers.get(last.inputs[0])
    path: list[Node] = []
    while node is not None:
        path.insert(0, node)
        if not isinstance(node, _MOVES):
            break
        node = makers.get(node.inputs[0])
    return path


def _largest_share(sums: Int64) -> Int32:
    """Return, by row, the sum from which on the largest share of a row is active."""
    ordered = np.sort(sums, axis=1)
    least, most = ordered[:, 0], ordered[:, -1]
    chosen = ordered[:, min(int((1 - ACTIVE) * ordered.shape[1]), ordered.shape[1] - 1)]
    # A row that hardly changes is active where it does, or nowhere.
    chosen = np.where(chosen > least, chosen, np.where(most > least, most, most + 1))
    return np.asarray(chosen, np.int32)
