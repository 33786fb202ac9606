"""Check batch norms for parameters that have no result, or a boundless one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.diagnostics import error, warning
from lowbitc.compiler.ir import ops
from lowbitc.compiler.manager import PassResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.elements import Float64
    from lowbitc.compiler.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class CheckBatchnorm:
    """Refuse batch norms that give no number; warn of negative variances and of huge gains.

    ``most_gain`` is the largest |γ| / √(variance + ε) that passes without a warning: γ near 1 and
    a dead channel under the usual ε of 1e-5 give 316.
    """

    name: ClassVar[str] = "check-batchnorm"
    most_gain: float = 1e4

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph as it is."""
        found = tuple(
            finding
            for node in graph.nodes
            if isinstance(node, ops.BatchNorm)
            for finding in self._check(graph, node)
        )
        return PassResult(graph, changed=False, diagnostics=found)

    def _check(self, graph: Graph, node: ops.BatchNorm) -> Iterator[Diagnostic]:
        arrays = [graph.constants.get(name) for name in node.inputs[1:]]
        held = [np.asarray(a, np.float64) for a in arrays if a is not None]
        if len(held) != len(arrays):
            return
        gain, *_, variance = held
        power = variance + node.epsilon
        broken = _channels(power <= 0) or _channels(~np.isfinite(np.sum(held, axis=0)))
        if broken:
            yield error(
                "LB423",
                f"{node.name} has no result in {broken}",
                sources=node.sources,
                found=f"smallest variance {np.min(variance):.3g}, epsilon {node.epsilon:.3g}",
                allowed="finite parameters, and variance + epsilon > 0",
                hint="export the model again; its running variance is damaged",
            )
            return
        slopes: Float64 = np.abs(gain) / np.sqrt(power)
        odd = _channels((slopes > self.most_gain) | (variance < 0))
        if odd:
            yield warning(
                "LB424",
                f"{node.name} amplifies {odd} without bounds",
                sources=node.sources,
                found=f"gain {np.max(slopes):.3g}, smallest variance {np.min(variance):.3g}",
                allowed=f"gain up to {self.most_gain:.3g}, variance from 0",
                hint="train with a larger epsilon, or prune the channels",
            )


def _channels(which: np.typing.NDArray[np.bool_]) -> str:
    """Name the channels of a mask, the first few by number."""
    indices = [int(i) for i in np.flatnonzero(which)]
    shown = ", ".join(map(str, indices[:4])) + (", …" if len(indices) > 4 else "")  # noqa: PLR2004
    return f"channels {shown} ({len(indices)} of {which.size})" if indices else ""
