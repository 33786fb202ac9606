"""How much of a network runs on the chip: multiply-accumulates, parameters, launches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.crossing import crossings, launch_bound
from lowbitc.targets.host_work import host_work

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.program.program import Program


@dataclass(frozen=True, slots=True)
class DeviceShares:
    """Shares of multiply-accumulates and of parameters on the chip, and launches a sample.

    No schedule has fewer launches than ``launch_bound``. ``crossing_bytes`` are those that enter
    and leave the chip for a sample: a byte a level, four a sum.
    """

    mac_share: float
    param_share: float
    launches: int
    macs: int
    params: int
    host_macs: int
    host_params: int
    launch_bound: int
    crossing_bytes: int


def device_shares(program: Program) -> DeviceShares:
    """Count the chip's work and weights against those of the pieces on the CPU."""
    macs = sum(
        node_macs(node, step.graph) for step in program.launches for node in step.graph.nodes
    )
    params = sum(
        node_params(node, step.graph) for step in program.launches for node in step.graph.nodes
    )
    work = [host_work(step.model) for step in program.host_steps]
    host_macs, host_params = sum(w.macs for w in work), sum(w.params for w in work)
    return DeviceShares(
        mac_share=macs / (macs + host_macs) if macs + host_macs else 0.0,
        param_share=params / (params + host_params) if params + host_params else 0.0,
        launches=len(program.launches),
        macs=macs,
        params=params,
        host_macs=host_macs,
        host_params=host_params,
        launch_bound=launch_bound(program),
        crossing_bytes=sum(crossing.size_bytes for crossing in crossings(program)),
    )


def node_macs(node: Node, graph: Graph) -> int:
    """Return the multiply-accumulates of an integer node for one sample; 0 without weights."""
    if isinstance(node, (q.QConv, q.QDense)):
        weights = graph.shape(node.inputs[1])
        return math.prod(graph.shape(node.outputs[0])) * math.prod(weights[1:])
    if isinstance(node, q.QConvTranspose):
        weights = graph.shape(node.inputs[1])
        return math.prod(graph.shape(node.inputs[0])) * math.prod(weights[1:])
    return 0


def node_params(node: Node, graph: Graph) -> int:
    """Return the number of weights of an integer node."""
    if isinstance(node, (q.QConv, q.QDense, q.QConvTranspose)):
        return math.prod(graph.shape(node.inputs[1]))
    return 0
