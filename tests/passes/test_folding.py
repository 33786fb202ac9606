"""The whole pipeline keeps the function of any network, and leaves what a folded graph may hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hypothesis import HealthCheck, given, settings

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, Stage
from lowbitc.compiler.manager import PassManager, PassResult
from lowbitc.passes.canonicalise import Canonicalise
from lowbitc.passes.fold_batchnorm import FoldBatchnorm
from lowbitc.passes.folding import FOLDING
from lowbitc.passes.merge_pads import MergePads
from tests.passes.checking import checked, kinds, sources_of
from tests.passes.graphs import Net
from tests.passes.random_nets import networks

if TYPE_CHECKING:
    from lowbitc.compiler.manager import Pass

_SEARCH = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_RELATIVE = 2e-4
"""Folding reorders sums, and drawn layers may cancel each other."""


@dataclass(frozen=True, slots=True)
class _Pipeline:
    name: ClassVar[str] = "folding"

    def run(self, graph: Graph, /) -> PassResult:
        return PassManager(FOLDING).run(graph)


def _folded(graph: Graph) -> Graph:
    return checked(_Pipeline(), graph, relative=_RELATIVE)


@_SEARCH
@given(networks())
def test_folding_keeps_the_function_of_any_network(graph: Graph) -> None:
    after = _folded(graph)
    assert after.stage is Stage.FOLDED
    assert not {"BatchNorm", "Identity", "Sub", "Div"}.intersection(kinds(after))
    assert sources_of(after) <= sources_of(graph)


@_SEARCH
@given(networks())
def test_each_rewrite_keeps_the_function_of_any_network(graph: Graph) -> None:
    steps: tuple[Pass, ...] = (MergePads(), FoldBatchnorm(), Canonicalise())
    for step in steps:
        checked(step, graph, relative=_RELATIVE)


def test_a_mobile_block_folds_to_its_convolutions() -> None:
    net = Net(1, 8, 10, 10)
    y = net.clamp(net.batch_norm(net.conv(net.x, 16, 1, bias=False)))
    y = net.pad(y, (0, 0, 0, 0, 0, 0, 1, 1))
    y = net.clamp(net.batch_norm(net.conv(y, 16, stride=1, groups=16, pads=(1, 1, 0, 0))))
    y = net.batch_norm(net.conv(y, 8, 1, bias=False))
    after = _folded(net.graph(net.add(y, net.x)))
    assert kinds(after) == ["Conv", "Clamp", "Conv", "Clamp", "Conv", "Add"]
    assert sources_of(after) == {f"/{node.name}" for node in net.nodes}


def test_a_block_with_norms_behind_its_activations_leaves_them_to_output_stages() -> None:
    net = Net(1, 1, 32)
    y = net.x
    for _ in range(2):
        y = net.batch_norm(net.relu(net.conv(y, 4, 5, pads=2)))
        y = net.pool(ops.MaxPool, y, 2)
    y = net.matmul(net.reshape(y, 1, 32), 3)
    after = _folded(net.graph(net.same(ops.Sigmoid, y)))
    assert kinds(after) == [
        *("Conv", "Relu", "ScaleShift", "MaxPool"),
        *("Conv", "Relu", "ScaleShift", "MaxPool"),
        *("Reshape", "Dense", "Sigmoid"),
    ]


def test_a_network_folds_the_same_twice() -> None:
    net = Net(1, 4, 6, 6)
    graph = net.graph(net.relu(net.batch_norm(net.conv(net.x, 4))))
    first, second = (PassManager(FOLDING).run(graph).graph for _ in range(2))
    assert first.nodes == second.nodes
    assert list(first.constants) == list(second.constants)
