"""Batch norms and loose Mul and Add go into weights wherever that is exact, and only there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.diagnostics import Severity
from lowbitc.compiler.elements import I64
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType
from lowbitc.passes.fold_batchnorm import FoldBatchnorm
from tests.passes.checking import checked, kinds, sources_of
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph


def folded(graph: Graph) -> Graph:
    after = checked(FoldBatchnorm(), graph)
    assert sources_of(after) == sources_of(graph)
    return after


# --- into the layer before it ------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_it_goes_into_the_convolution_before_it(groups: int, *, bias: bool) -> None:
    net = Net(1, 4, 6, 6)
    y = net.batch_norm(net.conv(net.x, 8, pads=1, groups=groups, bias=bias))
    assert kinds(folded(net.graph(y))) == ["Conv"]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_it_goes_into_the_transposed_convolution_before_it(groups: int) -> None:
    net = Net(1, 4, 5, 5)
    y = net.batch_norm(net.conv_transpose(net.x, 8, groups=groups))
    assert kinds(folded(net.graph(y))) == ["ConvTranspose"]


def test_it_goes_into_the_dense_layer_before_it() -> None:
    net = Net(1, 6)
    y = net.batch_norm(net.dense(net.x, 5, bias=False))
    assert kinds(folded(net.graph(y))) == ["Dense"]


def test_it_goes_into_a_dense_layer_of_rows_whose_features_became_channels() -> None:
    net = Net(1, 7, 6)
    y = net.batch_norm(net.transpose(net.dense(net.x, 5), 0, 2, 1))
    assert kinds(folded(net.graph(net.relu(y)))) == ["Dense", "Transpose", "Relu"]


def test_it_stays_behind_a_dense_layer_whose_rows_are_the_channels() -> None:
    net = Net(1, 7, 6)
    y = net.batch_norm(net.dense(net.x, 5))
    assert kinds(folded(net.graph(y))) == ["Dense", "ScaleShift"]


def test_it_goes_into_a_one_dimensional_convolution() -> None:
    net = Net(1, 4, 9)
    y = net.batch_norm(net.conv(net.x, 6, pads=1))
    assert kinds(folded(net.graph(y))) == ["Conv"]


def test_two_convolutions_that_share_a_weight_get_each_its_own() -> None:
    net = Net(1, 4, 6, 6)
    weights = net.constant(net.normal(4, 4, 3, 3), "shared")
    first = net.batch_norm(net.conv(net.x, 4, pads=1, weights=weights))
    second = net.batch_norm(net.conv(first, 4, pads=1, weights=weights))
    after = folded(net.graph(second))
    assert kinds(after) == ["Conv", "Conv"]
    assert len({node.inputs[1] for node in after.nodes}) == 2
    assert "shared" not in after.constants


def test_a_sum_of_two_convolutions_shares_it() -> None:
    net = Net(1, 4, 6, 6)
    total = net.add(net.conv(net.x, 5, pads=1), net.conv(net.x, 5, 1))
    assert kinds(folded(net.graph(net.batch_norm(total)))) == ["Conv", "Conv", "Add"]


def test_each_branch_of_a_concat_takes_its_part() -> None:
    net = Net(1, 4, 6, 6)
    joined = net.concat(net.conv(net.x, 3, 1), net.conv(net.x, 5, pads=1))
    assert kinds(folded(net.graph(net.batch_norm(joined)))) == ["Conv", "Conv", "Concat"]


def test_it_passes_an_average_pool_and_a_reshape_on_the_way_back() -> None:
    net = Net(1, 4, 6, 6)
    pooled = net.reshape(net.pool(ops.AveragePool, net.conv(net.x, 3), 2), 1, 3, 4)
    assert kinds(folded(net.graph(net.batch_norm(pooled)))) == ["Conv", "AveragePool", "Reshape"]


def test_a_positive_scale_passes_a_relu_and_a_max_pool_on_the_way_back() -> None:
    net = Net(1, 4, 6, 6)
    pooled = net.pool(ops.MaxPool, net.relu(net.conv(net.x, 3)), 2)
    y = net.batch_norm(pooled, positive=True, shift=False)
    assert kinds(folded(net.graph(y))) == ["Conv", "Relu", "MaxPool"]


def test_values_that_changed_on_the_way_have_new_names() -> None:
    net = Net(1, 4, 6, 6)
    pooled = net.pool(ops.AveragePool, net.conv(net.x, 3), 2)
    y = net.batch_norm(pooled)
    after = folded(net.graph(y))
    made = {value for node in after.nodes for value in node.outputs}
    assert y in made
    assert pooled not in made
    assert net.nodes[0].outputs[0] not in made


def test_weights_that_are_computed_keep_it() -> None:
    net = Net(1, 3, 6, 6)
    weights = net.input(2, 3, 3, 3)
    y = net.node(
        ops.Conv,
        (net.x, weights),
        (1, 2, 4, 4),
        kernel=(3, 3),
        stride=(1, 1),
        dilation=(1, 1),
        pads=(0, 0, 0, 0),
    )
    result = FoldBatchnorm().run(net.graph(net.batch_norm(y)))
    assert kinds(result.graph) == ["Conv", "ScaleShift"]


# --- into the layers behind it -----------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_it_goes_into_the_convolution_behind_it_where_nothing_is_padded(groups: int) -> None:
    net = Net(1, 4, 6, 6)
    y = net.conv(net.batch_norm(net.x), 8, groups=groups)
    assert kinds(folded(net.graph(y))) == ["Conv"]


def test_it_stays_before_a_convolution_that_pads() -> None:
    net = Net(1, 4, 6, 6)
    y = net.conv(net.batch_norm(net.x), 3, pads=1)
    assert kinds(folded(net.graph(y))) == ["ScaleShift", "Conv"]


def test_without_a_shift_it_goes_into_a_convolution_that_pads() -> None:
    net = Net(1, 4, 6, 6)
    y = net.conv(net.batch_norm(net.x, shift=False), 3, pads=1)
    assert kinds(folded(net.graph(y))) == ["Conv"]


@pytest.mark.parametrize("shift", [True, False], ids=["shift", "no-shift"])
def test_a_transposed_convolution_behind_it_takes_a_scale_only(*, shift: bool) -> None:
    net = Net(1, 4, 5, 5)
    y = net.conv_transpose(net.batch_norm(net.x, shift=shift), 6, groups=2)
    wanted = ["ScaleShift", "ConvTranspose"] if shift else ["ConvTranspose"]
    assert kinds(folded(net.graph(y))) == wanted


def test_behind_a_relu_it_goes_forward_through_a_max_pool_where_scales_are_positive() -> None:
    net = Net(1, 4, 8, 8)
    y = net.batch_norm(net.relu(net.conv(net.x, 5)), positive=True)
    z = net.conv(net.pool(ops.MaxPool, y, 2), 3)
    assert kinds(folded(net.graph(z))) == ["Conv", "Relu", "MaxPool", "Conv"]


def test_behind_a_relu_it_stays_before_a_max_pool_where_a_scale_is_negative() -> None:
    net = Net(1, 4, 8, 8)
    y = net.batch_norm(net.relu(net.conv(net.x, 5)))
    z = net.conv(net.pool(ops.MaxPool, y, 2), 3)
    assert kinds(folded(net.graph(z))) == ["Conv", "Relu", "ScaleShift", "MaxPool", "Conv"]


def test_it_goes_through_global_pooling_and_flattening_into_a_dense_layer() -> None:
    net = Net(1, 4, 8, 8)
    y = net.batch_norm(net.relu(net.conv(net.x, 5)))
    z = net.dense(net.reshape(net.global_average(y), 1, 5), 3)
    assert kinds(folded(net.graph(z))) == ["Conv", "Relu", "GlobalAveragePool", "Reshape", "Dense"]


def test_it_goes_through_flattening_of_a_map_into_a_dense_layer() -> None:
    net = Net(1, 4, 6, 6)
    y = net.batch_norm(net.relu(net.conv(net.x, 5)))
    z = net.dense(net.reshape(y, 1, 80), 3)
    assert kinds(folded(net.graph(z))) == ["Conv", "Relu", "Reshape", "Dense"]


def test_it_goes_through_a_channel_shuffle() -> None:
    net = Net(1, 4, 5, 5)
    y = net.batch_norm(net.relu(net.conv(net.x, 6)))
    shuffled = net.transpose(net.reshape(y, 1, 2, 3, 3, 3), 0, 2, 1, 3, 4)
    z = net.conv(net.reshape(shuffled, 1, 6, 3, 3), 4, groups=2)
    after = folded(net.graph(z))
    assert kinds(after) == ["Conv", "Relu", "Reshape", "Transpose", "Reshape", "Conv"]


def test_it_goes_through_slices_and_concat() -> None:
    net = Net(1, 4, 5, 5)
    y = net.batch_norm(net.relu(net.conv(net.x, 6)))
    parts = [
        net.node(ops.Slice, (y,), (1, 3, 3, 3), starts=(s,), ends=(s + 3,), axes=(1,), steps=(1,))
        for s in (0, 3)
    ]
    z = net.conv(net.concat(parts[1], net.relu(net.conv(net.x, 2)), parts[0]), 4)
    after = folded(net.graph(z))
    assert "ScaleShift" not in kinds(after)


def test_all_readers_take_it_or_none_does() -> None:
    for pads in (0, 1):
        net = Net(1, 4, 6, 6)
        y = net.batch_norm(net.relu(net.conv(net.x, 4)))
        after = folded(net.graph(net.conv(y, 3), net.conv(y, 2, pads=pads)))
        assert kinds(after).count("ScaleShift") == pads


def test_a_reader_that_meets_it_twice_takes_it_once() -> None:
    net = Net(1, 4, 6, 6)
    y = net.batch_norm(net.relu(net.conv(net.x, 4)), positive=True)
    pooled = net.pool(ops.MaxPool, y, 3, stride=1, pads=1)
    z = net.conv(net.concat(y, pooled), 3)
    assert kinds(folded(net.graph(z))) == ["Conv", "Relu", "MaxPool", "Concat", "Conv"]


@pytest.mark.parametrize(("mode", "stays"), [("constant", True), ("reflect", False)])
def test_a_shift_passes_padding_by_reflection_but_not_by_zeros(mode: str, *, stays: bool) -> None:
    net = Net(1, 4, 6, 6)
    padded = net.pad(net.batch_norm(net.x), (0, 0, 1, 2, 0, 0, 1, 0), mode=mode)
    after = folded(net.graph(net.conv(padded, 3)))
    assert ("ScaleShift" in kinds(after)) is stays


def test_padding_by_another_value_stops_a_scale() -> None:
    net = Net(1, 4, 6, 6)
    padded = net.pad(net.batch_norm(net.x, shift=False), (0, 0, 1, 2, 0, 0, 1, 0), 1.0)
    after = folded(net.graph(net.conv(padded, 3)))
    assert kinds(after) == ["ScaleShift", "Pad", "Conv"]


def test_an_average_that_counts_padding_stops_a_shift() -> None:
    for counts in (True, False):
        net = Net(1, 4, 6, 6)
        pool = net.pool(ops.AveragePool, net.batch_norm(net.x), 3, pads=1, count_padding=counts)
        after = folded(net.graph(net.conv(pool, 3, 1)))
        assert ("ScaleShift" in kinds(after)) is counts


# --- loose scales and shifts -------------------------------------------------------------------


@pytest.mark.parametrize("operator", [ops.Mul, ops.Add, ops.Sub, ops.Div])
@pytest.mark.parametrize("shape", [(), (1,), (5, 1, 1), (1, 5, 1, 1), (1, 1, 1, 1)])
def test_a_loose_constant_goes_into_the_convolution_before_it(
    operator: type[ops.Mul], shape: tuple[int, ...]
) -> None:
    net = Net(1, 4, 6, 6)
    constant = net.random.uniform(0.5, 2, shape).astype(np.float32)
    y = net.with_constant(operator, net.conv(net.x, 5), constant)
    assert kinds(folded(net.graph(y))) == ["Conv"]


def test_a_constant_minus_a_value_goes_into_the_convolution_before_it() -> None:
    net = Net(1, 4, 6, 6)
    constant = net.constant(np.asarray(1.5, np.float32))
    y = net.conv(net.x, 5)
    difference = net.node(ops.Sub, (constant, y), net.shape(y))
    assert kinds(folded(net.graph(difference))) == ["Conv"]


def test_a_constant_divided_by_a_value_stays() -> None:
    net = Net(1, 4)
    constant = net.constant(np.asarray(1.5, np.float32))
    y = net.node(ops.Div, (constant, net.dense(net.x, 5)), (1, 5))
    assert kinds(folded(net.graph(y))) == ["Dense", "Div"]


@pytest.mark.parametrize("shape", [(6, 6), (1, 4, 6, 6), (1, 6)])
def test_a_constant_that_is_not_by_channel_stays(shape: tuple[int, ...]) -> None:
    net = Net(1, 4, 6, 6)
    y = net.with_constant(ops.Mul, net.conv(net.x, 4, pads=1), net.normal(*shape))
    assert kinds(folded(net.graph(y))) == ["Conv", "Mul"]


def test_a_constant_that_widens_the_value_stays() -> None:
    net = Net(1, 4, 1, 1)
    y = net.conv(net.x, 1, 1)
    widened = net.node(ops.Add, (y, net.constant(net.normal(1, 5, 1, 1))), (1, 5, 1, 1))
    assert kinds(folded(net.graph(widened))) == ["Conv", "Add"]


def test_a_bias_by_features_goes_into_a_dense_layer_of_rows() -> None:
    net = Net(1, 7, 6)
    y = net.with_constant(ops.Add, net.dense(net.x, 5, bias=False), net.normal(5))
    assert kinds(folded(net.graph(y))) == ["Dense"]


def test_gain_and_offset_of_a_normalisation_go_into_all_dense_layers_behind_it() -> None:
    net = Net(1, 7, 6)
    normal = net.same(ops.Softmax, net.x, axis=2)
    scaled = net.with_constant(ops.Mul, normal, net.normal(6))
    y = net.with_constant(ops.Add, scaled, net.normal(6))
    outputs = [net.dense(y, 3) for _ in range(3)]
    assert kinds(folded(net.graph(*outputs))) == ["Softmax", "Dense", "Dense", "Dense"]


def test_what_stays_in_a_row_becomes_one_scale_shift() -> None:
    net = Net(1, 4, 6, 6)
    y = net.with_constant(ops.Mul, net.batch_norm(net.x), np.asarray(-2.0))
    y = net.with_constant(ops.Add, net.batch_norm(y), net.normal(4, 1, 1))
    assert kinds(folded(net.graph(net.relu(y)))) == ["ScaleShift", "Relu"]


def test_integer_arithmetic_stays() -> None:
    net = Net(1, 4)
    y = net.with_constant(ops.Add, net.x, np.ones(4))
    integers = TensorType((1, 4), I64)
    graph = net.graph(y).replace(types={**net.types, net.x: integers, y: integers})
    assert not FoldBatchnorm().run(graph).changed


def test_scales_of_one_and_shifts_of_zero_vanish() -> None:
    net = Net(1, 4, 6, 6)
    y = net.with_constant(ops.Mul, net.relu(net.x), np.ones((4, 1, 1)))
    z = net.with_constant(ops.Add, y, np.zeros(()))
    after = checked(FoldBatchnorm(), net.graph(z), relative=0)
    assert kinds(after) == ["Relu"]
    assert after.outputs == (z,)


# --- what stays, and where ---------------------------------------------------------------------


def test_behind_a_relu_and_before_padding_it_stays_for_the_output_stage() -> None:
    net = Net(1, 4, 6, 6)
    y = net.batch_norm(net.relu(net.conv(net.x, 4)))
    assert kinds(folded(net.graph(net.conv(y, 3, pads=1)))) == [
        "Conv",
        "Relu",
        "ScaleShift",
        "Conv",
    ]


def test_what_stays_behind_a_max_pool_settles_behind_the_clip_before_it() -> None:
    net = Net(1, 4, 8, 8)
    pooled = net.pool(ops.MaxPool, net.clamp(net.conv(net.x, 4)), 2)
    y = net.batch_norm(pooled, positive=True)
    after = folded(net.graph(net.conv(y, 3, pads=1)))
    assert kinds(after) == ["Conv", "Clamp", "ScaleShift", "MaxPool", "Conv"]


def test_what_stays_behind_a_concat_settles_in_its_branches() -> None:
    net = Net(1, 4, 6, 6)
    first, second = net.relu(net.conv(net.x, 3, 1)), net.conv(net.x, 5, pads=1)
    y = net.batch_norm(net.concat(first, second))
    after = folded(net.graph(net.conv(y, 3, pads=1)))
    assert sorted(kinds(after)) == ["Concat", "Conv", "Conv", "Conv", "Relu", "ScaleShift"]


def test_a_value_with_other_readers_keeps_its_value() -> None:
    net = Net(1, 4, 6, 6)
    y = net.conv(net.x, 4, pads=1)
    z = net.add(net.relu(net.batch_norm(y)), y)
    assert kinds(folded(net.graph(z))) == ["Conv", "ScaleShift", "Relu", "Add"]


def test_an_output_keeps_its_value_and_its_name() -> None:
    net = Net(1, 4, 6, 6)
    y = net.conv(net.x, 4, pads=1)
    z = net.batch_norm(y)
    after = folded(net.graph(y, z))
    assert kinds(after) == ["Conv", "ScaleShift"]
    assert after.outputs == (y, z)


def test_several_norms_of_one_value_stay_apart() -> None:
    net = Net(1, 4, 6, 6)
    y = net.conv(net.x, 4)
    outputs = [net.conv(net.batch_norm(y), 2, pads=p) for p in (0, 1)]
    after = folded(net.graph(*outputs))
    assert kinds(after).count("ScaleShift") == 1


def test_before_an_activation_of_a_sum_it_stays() -> None:
    net = Net(1, 4, 6, 6)
    y = net.add(net.conv(net.x, 4, pads=1), net.x)
    z = net.conv(net.relu(net.batch_norm(y)), 3)
    assert kinds(folded(net.graph(z))) == ["Conv", "Add", "ScaleShift", "Relu", "Conv"]


def test_notes_say_what_was_folded_and_why_the_rest_stays() -> None:
    net = Net(1, 4, 6, 6)
    y = net.relu(net.batch_norm(net.conv(net.x, 4)))
    z = net.conv(net.batch_norm(y), 3, pads=1)
    found = FoldBatchnorm().run(net.graph(z)).diagnostics
    assert [(d.code, d.severity) for d in found] == [
        ("LB421", Severity.NOTE),
        ("LB422", Severity.NOTE),
    ]
    assert found[0].message == "folded into weights: 1 batch norms"
    assert "pads its input with zeros" in found[1].found
    assert found[1].message.endswith("for that layer's output stage")
    assert found[1].sources == net.nodes[3].sources


def test_sums_are_made_in_float64() -> None:
    net = Net(1, 1)
    y = net.node(ops.Dense, (net.x, net.constant(np.ones((1, 1), np.float32))), (1, 1))
    big = net.with_constant(ops.Add, y, np.full(1, 2.0**24, np.float32))
    parameters = (np.ones(1), np.ones(1), np.full(1, 2.0**24), np.full(1, 1.0))
    constants = [net.constant(p.astype(np.float32)) for p in parameters]
    z = net.same(ops.BatchNorm, big, *constants, epsilon=0.0)
    after = FoldBatchnorm().run(net.graph(z)).graph
    (node,) = after.nodes
    assert after.constants[node.inputs[2]] == np.ones(1)


def test_a_shift_alone_leaves_shared_weights_shared() -> None:
    net = Net(1, 4, 6, 6)
    weights = net.constant(net.normal(4, 4, 3, 3), "shared")
    y = net.x
    for _ in range(2):
        y = net.with_constant(ops.Add, net.conv(y, 4, pads=1, weights=weights), np.asarray(1.0))
    after = folded(net.graph(y))
    assert {node.inputs[1] for node in after.nodes} == {"shared"}


def test_equal_norms_of_shared_weights_share_what_they_become() -> None:
    net = Net(1, 4, 6, 6)
    weights = net.constant(net.normal(4, 4, 3, 3), "shared")
    first = net.batch_norm(net.conv(net.x, 4, pads=1, bias=False, weights=weights))
    inputs = net.nodes[-1].inputs[1:]
    other = net.conv(first, 4, pads=1, bias=False, weights=weights)
    after = folded(net.graph(net.same(ops.BatchNorm, other, *inputs, epsilon=1e-5)))
    assert kinds(after) == ["Conv", "Conv"]
    assert len({node.inputs[1] for node in after.nodes}) == 1


def test_a_norm_with_computed_statistics_goes_to_the_cpu() -> None:
    net = Net(1, 4, 3, 3)
    means = [net.input(4) for _ in range(2)]
    constants = [net.constant(np.ones(4, np.float32)) for _ in range(2)]
    y = net.same(ops.BatchNorm, net.x, *constants, *means, epsilon=1.0)
    (node,) = FoldBatchnorm().run(net.graph(y)).graph.nodes
    assert isinstance(node, ops.HostOp)
    assert node.op_type == "BatchNormalization"
    assert node.outputs == (y,)


def test_a_reader_that_nothing_needs_does_not_hold_a_batch_norm_back() -> None:
    net = Net(1, 2, 8, 7)
    normed = net.batch_norm(net.x)
    net.relu(normed)
    out = net.conv(normed, 4, 3, pads=0)
    after = checked(FoldBatchnorm(), net.graph(out))
    assert kinds(after) == ["Conv"]
