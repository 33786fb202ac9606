"""Recurrent layers in training compute what ONNX Runtime computes, for several samples at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.compiler.execute import FloatSession  # noqa: E402 - after the check for torch
from lowbitc.compiler.ir import ops  # noqa: E402
from lowbitc.training.host import constant, is_known, run_on_host  # noqa: E402
from tests.passes.test_hoist_projections import BATCH, FEATURES, STEPS, layer  # noqa: E402

SAMPLES = 3


def recurrent(graph: Graph) -> ops.HostOp:
    (node,) = (n for n in graph.nodes if isinstance(n, ops.HostOp))
    return node


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("optional", [("B",), ("B", "h", "c"), ()], ids=["bias", "states", "bare"])
@pytest.mark.parametrize(
    ("op_type", "linear"), [("GRU", 0), ("GRU", 1), ("LSTM", None)], ids=["gru", "late", "lstm"]
)
def test_samples_at_once_are_samples_one_by_one(
    op_type: str, linear: int | None, optional: tuple[str, ...], direction: str
) -> None:
    extra = {} if linear is None else {"linear_before_reset": linear}
    graph = layer(op_type, optional, direction=direction, **extra)
    node = recurrent(graph)
    shape = (SAMPLES, STEPS, BATCH, FEATURES)
    x = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    session = FloatSession(graph, fetch=list(node.outputs), threads=1)
    wanted = [session.arrays({"x": sample}) for sample in x]
    assert is_known(graph, node)
    feeds = [
        None if not v else constant(graph, v) if v in graph.constants else torch.as_tensor(x)
        for v in node.inputs
    ]
    found = run_on_host(node, graph, feeds)
    for name, value in zip(node.outputs, found, strict=True):
        np.testing.assert_allclose(value.numpy(), [w[name] for w in wanted], atol=1e-5)


@pytest.mark.parametrize(
    ("op_type", "optional", "extra"),
    [
        ("GRU", ("B", "lengths"), {}),
        ("LSTM", ("B", "P"), {}),
        ("GRU", ("B",), {"clip": 0.5}),
        ("GRU", ("B",), {"direction": "bidirectional"}),
        ("RNN", ("B",), {}),
    ],
)
def test_a_layer_that_would_be_computed_wrong_is_not_known(
    op_type: str, optional: tuple[str, ...], extra: dict[str, float | str]
) -> None:
    graph = layer(op_type, optional, **extra)
    assert not is_known(graph, recurrent(graph))


def test_gradients_reach_the_first_step() -> None:
    graph = layer("GRU", ("B",), direction="forward")
    node = recurrent(graph)
    x = torch.ones(1, STEPS, BATCH, FEATURES, requires_grad=True)
    held = [constant(graph, v) if v in graph.constants else None for v in node.inputs[1:]]
    _, last = run_on_host(node, graph, [x, *held])
    last.sum().backward()
    assert x.grad is not None
    assert (x.grad[:, 0].abs() > 0).all()
