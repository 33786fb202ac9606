"""Input projections leave recurrent layers, and what is left computes the same."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lowbitc.compiler.export import export_region
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.ir import ops
from lowbitc.compiler.work import held_params, is_identity, node_macs
from lowbitc.passes.hoist_projections import HoistProjections
from lowbitc.targets.host_work import host_work
from tests.passes.checking import checked, kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.ir.graph import Graph

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, FEATURES, HIDDEN = 5, 2, 3, 4


def layer(
    op_type: str,
    optional: Sequence[str] = ("B",),
    *,
    computed_states: bool = False,
    **attributes: Any,  # noqa: ANN401 - ONNX's
) -> Graph:
    """Return a network of one recurrent layer with the optional inputs that are named."""
    random = np.random.default_rng(0)
    both = 2 if attributes.get("direction") == "bidirectional" else 1
    wide = GATES[op_type] * HIDDEN
    first = attributes.get("layout", 0)
    steps = (BATCH, STEPS) if first else (STEPS, BATCH)
    state = (BATCH, both, HIDDEN) if first else (both, BATCH, HIDDEN)
    arrays: dict[str, Any] = {
        "W": random.normal(0, 0.5, (both, wide, FEATURES)),
        "R": random.normal(0, 0.5, (both, wide, HIDDEN)),
        "B": random.normal(0, 0.5, (both, 2 * wide)),
        "lengths": np.array([STEPS, 2][:BATCH], np.int32),
        "h": random.normal(0, 1, state),
        "c": random.normal(0, 1, state),
        "P": random.normal(0, 0.5, (both, 3 * HIDDEN)),
    }
    order = ["W", "R", "B", "lengths", "h", *(["c", "P"] if op_type == "LSTM" else [])]
    kept = {"W", "R", *optional}
    names = [name if name in kept else "" for name in order]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*steps, FEATURES])]
    if computed_states:
        states = [n for n in names if n in {"h", "c"}]
        inputs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, state) for n in states]
        arrays = {k: v for k, v in arrays.items() if k not in states}
    outputs = ["y", "y_h", *(["y_c"] if op_type == "LSTM" else [])]
    node = helper.make_node(
        op_type, ["x", *names], outputs, hidden_size=HIDDEN, name="rnn", **attributes
    )
    shape = (*steps, both, HIDDEN) if first else (STEPS, both, BATCH, HIDDEN)
    graph = helper.make_graph(
        [node],
        "net",
        inputs,
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, shape),
            *(helper.make_tensor_value_info(n, TensorProto.FLOAT, state) for n in outputs[1:]),
        ],
        [
            numpy_helper.from_array(a if k == "lengths" else a.astype(np.float32), k)
            for k, a in arrays.items()
            if k in names
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return import_model(model).graph


def hoisted(graph: Graph) -> Graph:
    after = checked(HoistProjections(), graph, relative=2e-6)
    assert "Dense" in kinds(after)
    cells = [node for node in after.nodes if isinstance(node, ops.HostOp)]
    assert all(is_identity(after.constants[cell.inputs[1]]) for cell in cells)
    return after


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op_type", GATES)
def test_every_layer_in_every_direction(op_type: str, direction: str) -> None:
    hoisted(layer(op_type, direction=direction))
    hoisted(layer(op_type, ["h"], direction=direction))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lengths_states_and_peepholes_stay_with_the_cell(direction: str) -> None:
    every = ["B", "lengths", "h", "c", "P"]
    hoisted(layer("LSTM", every, direction=direction))
    hoisted(layer("LSTM", every, direction=direction, computed_states=True))


@pytest.mark.parametrize("linear", [0, 1])
@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_the_reset_gate_before_or_after_the_product(linear: int, direction: str) -> None:
    hoisted(layer("GRU", ["B", "h"], linear_before_reset=linear, direction=direction))


@pytest.mark.parametrize(
    "held",
    [
        {"clip": 0.3},
        {"activations": ["Relu", "Sigmoid", "Tanh", "Tanh", "Sigmoid", "Relu"]},
        {
            "activations": ["HardSigmoid", "Tanh", "Affine"] * 2,
            "activation_alpha": [0.3, 0.5, 0.1, 2.0],
            "activation_beta": [0.4, 0.1, 0.6, 0.2],
        },
        {"input_forget": 1},
    ],
)
def test_clips_and_activations_stay_with_the_cell(held: dict[str, Any]) -> None:
    hoisted(layer("LSTM", ["B", "P"], direction="bidirectional", **held))


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(GATES)),
    st.sampled_from(["forward", "reverse", "bidirectional"]),
    st.sets(st.sampled_from(["B", "lengths", "h", "c", "P"])),
    st.booleans(),
)
def test_any_mixture_computes_the_same(
    op_type: str,
    direction: str,
    optional: set[str],
    computed: bool,  # noqa: FBT001 - drawn
) -> None:
    hoisted(layer(op_type, sorted(optional), direction=direction, computed_states=computed))


def test_weights_that_are_computed_stay() -> None:
    net = layer("GRU")
    held = {k: v for k, v in net.constants.items() if k != "W"}
    computed = net.replace(inputs=("x", "W"), constants=held)
    assert not HoistProjections().run(computed).changed


def test_what_is_left_counts_only_the_recurrence() -> None:
    before = layer("GRU", direction="bidirectional")
    after = hoisted(before)
    recurrent = STEPS * BATCH * 2 * GATES["GRU"] * HIDDEN * HIDDEN
    projected = STEPS * BATCH * 2 * GATES["GRU"] * HIDDEN * FEATURES
    cells = [n for n in after.nodes if isinstance(n, ops.HostOp)]
    dense = [n for n in after.nodes if isinstance(n, ops.Dense)]
    assert sum(node_macs(n, after) for n in cells) == recurrent
    assert sum(node_macs(n, after) for n in dense) == projected
    assert sum(node_macs(n, before) for n in before.nodes) == recurrent + projected
    assert (
        held_params(cells, after)
        == held_params(before.nodes, before) - held_params(dense, after) + 2 * GATES["GRU"] * HIDDEN
    )


@pytest.mark.parametrize("hidden", [16])
def test_the_identity_is_stored_sparse_and_counts_as_nothing(
    hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.HIDDEN", hidden)
    after = hoisted(layer("LSTM"))
    cells = [n for n in after.nodes if isinstance(n, ops.HostOp)]
    piece = export_region(after, [n.name for n in cells])
    graph = onnx.load_model_from_string(piece).graph
    assert len(graph.sparse_initializer) == 1
    assert host_work(piece).macs == sum(node_macs(n, after) for n in cells)
    largest = max(itertools.chain([0], (len(t.raw_data) for t in graph.initializer)))
    assert largest < 4 * (GATES["LSTM"] * hidden) ** 2
