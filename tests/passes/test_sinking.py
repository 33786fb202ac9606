"""Layers over steps meet in one, whatever order their frames stand in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import helper

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.elements import F32, PlainType
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType
from lowbitc.passes.canonicalise import Canonicalise
from lowbitc.passes.lower_gathers import LowerGathers
from lowbitc.passes.merge_dense import MergeDense
from lowbitc.passes.sink_transposes import SinkTransposes
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph


class Steps(Net):
    """A network that picks steps out of a sequence."""

    def reshape(self, x: str, *dims: int) -> str:
        return self.node(ops.Reshape, (x,), dims, shape=dims)

    def gather(self, x: str, index: int, axis: int = 0) -> str:
        dims = self.shape(x)
        place = self.integers(index)
        return self._host("Gather", (x, place), (*dims[:axis], *dims[axis + 1 :]), axis=axis)

    def integers(self, values: int | list[int]) -> str:
        array = np.asarray(values, np.int64)
        name = self.constant(array, "places")
        self.types[name] = TensorType(array.shape, PlainType("int64"))
        return name

    def reversed(self, x: str) -> str:
        bounds = [self.integers([v]) for v in (-1, -99, 0, -1)]
        return self._host("Slice", (x, *bounds), self.shape(x))

    def _host(
        self, op_type: str, inputs: tuple[str, ...], dims: tuple[int, ...], **held: int
    ) -> str:
        name = f"{op_type}_{len(self.nodes)}"
        proto = helper.make_node(op_type, inputs, [f"{name}:0"], name=name)
        proto.attribute.extend(helper.make_attribute(k, v) for k, v in held.items())
        self.types[f"{name}:0"] = TensorType(dims, F32)
        self.nodes.append(
            ops.HostOp(
                name=name,
                inputs=inputs,
                outputs=(f"{name}:0",),
                sources=(Source(f"/{name}", op_type),),
                domain="",
                op_type=op_type,
                proto=proto.SerializeToString(),
            )
        )
        return f"{name}:0"


def shared(net: Steps, steps: list[str], outputs: int = 3) -> list[str]:
    """Multiply steps by the same weights."""
    features = net.shape(steps[0])[-1]
    w = net.constant(net.normal(outputs, features), "w")
    b = net.constant(net.normal(outputs), "b")
    return [net.node(ops.Dense, (s, w, b), (*net.shape(s)[:-1], outputs)) for s in steps]


def unrolled(*, backwards: bool = False) -> Graph:
    net = Steps(5, 1, 4)
    x = net.reversed(net.x) if backwards else net.x
    return net.graph(*shared(net, [net.gather(x, i) for i in range(5)]))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("index", [0, 2, -1])
def test_a_gather_of_one_place_is_a_slice(index: int, axis: int) -> None:
    net = Steps(4, 3, 2)
    after = checked(LowerGathers(), net.graph(net.gather(net.x, index, axis)), relative=0)
    assert kinds(after) == ["Slice", "Reshape"]


def test_a_gather_of_reversed_steps_reads_the_steps() -> None:
    net = Steps(4, 1, 2)
    after = checked(LowerGathers(), net.graph(net.gather(net.reversed(net.x), 1)), relative=0)
    cut = after.nodes[0]
    assert isinstance(cut, ops.Slice)
    assert (cut.inputs, cut.starts) == (("x",), (2,))


@pytest.mark.parametrize("backwards", [False, True])
def test_the_steps_of_an_unrolled_recurrence_share_one_layer(
    backwards: bool,  # noqa: FBT001 - a parameter
) -> None:
    after = checked(Canonicalise(), unrolled(backwards=backwards))
    dense = [node for node in after.nodes if isinstance(node, ops.Dense)]
    assert [node.inputs[0] for node in dense] == ["x"]
    assert {s.node for s in dense[0].sources} == {
        n.sources[0].node for n in unrolled().nodes if isinstance(n, ops.Dense)
    } or backwards


def test_layers_of_other_weights_stay_apart() -> None:
    net = Steps(5, 1, 4)
    first, second = ([net.gather(net.x, i) for i in range(2)] for _ in range(2))
    after = checked(Canonicalise(), net.graph(*shared(net, first), *shared(net, second)))
    assert kinds(after).count("Dense") == 2


def test_steps_that_overlap_are_no_less_work_together() -> None:
    net = Steps(2, 1, 4)
    twice = net.graph(*shared(net, [net.gather(net.x, i) for i in (0, 1, 0)]))
    lowered = LowerGathers().run(twice).graph
    assert not MergeDense().run(lowered).changed


@pytest.mark.parametrize("perm", [(2, 0, 1), (1, 0, 2), (1, 2, 0)])
def test_a_layer_runs_before_its_frames_are_moved(perm: tuple[int, ...]) -> None:
    net = Net(1, 6, 5)
    after = checked(SinkTransposes(), net.graph(net.dense(net.transpose(net.x, *perm), 3)))
    moved = perm[-1] != 0
    assert (kinds(after)[-1] == "Transpose") is moved
    before = after.nodes[: kinds(after).index("Dense")]
    assert not moved or all(getattr(node, "perm", (0,))[0] == 0 for node in before)


def test_a_reshape_of_neighbours_runs_before_frames_are_moved() -> None:
    net = Steps(1, 4, 2, 5)
    y = net.dense(net.reshape(net.transpose(net.x, 3, 0, 1, 2), 5, 1, 8), 3)
    after = checked(SinkTransposes(), net.graph(y))
    assert kinds(after)[0] == "Reshape"


def test_a_reshape_of_no_neighbours_stays() -> None:
    net = Steps(1, 4, 2, 5)
    graph = net.graph(net.reshape(net.transpose(net.x, 3, 0, 2, 1), 5, 1, 8))
    assert not SinkTransposes().run(graph).changed


def test_a_transpose_that_leaves_frames_stays() -> None:
    net = Net(1, 6, 5)
    graph = net.graph(net.dense(net.transpose(net.x, 0, 2, 1), 3))
    assert not SinkTransposes().run(graph).changed
