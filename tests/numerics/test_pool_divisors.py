"""Windows of different sizes share a divisor once their sums are multiplied by place."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.numerics import spec
from lowbitc.compiler.numerics.pool_divisors import pool_divisor, pool_factors
from lowbitc.compiler.onnx_session import OnnxSession

CASES = [
    ((3, 3), (1, 1), (1, 1, 1, 1), (5, 6)),
    ((3, 3), (2, 2), (1, 1, 1, 1), (8, 7)),
    ((7, 7), (1, 1), (0, 0, 1, 1), (7, 7)),
    ((5, 4), (2, 3), (2, 0, 4, 3), (9, 10)),
    ((4,), (1,), (3, 2), (6,)),
]


def pool(
    kernel: tuple[int, ...], stride: tuple[int, ...], pads: tuple[int, ...], *, counts: bool
) -> q.QAveragePool:
    return q.QAveragePool(
        name="pool",
        inputs=("x",),
        outputs=("y",),
        sources=(),
        stage=q.Stage.ACCUMULATOR,
        kernel=kernel,
        stride=stride,
        pads=pads,
        count_padding=counts,
    )


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "pads", "size"), CASES)
def test_quotients_are_the_means_of_onnx_runtime(
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[int, ...],
    size: tuple[int, ...],
    *,
    counts: bool,
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 3, *size))
    made = helper.make_node(
        "AveragePool",
        ["x"],
        ["y"],
        count_include_pad=counts,
        kernel_shape=kernel,
        strides=stride,
        pads=pads,
    )
    graph = helper.make_graph(
        [made],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = OnnxSession(model.SerializeToString(), threads=1)
    means = np.asarray(session.run({"x": x.astype(np.float32)})["y"], np.float32)

    node = pool(kernel, stride, pads, counts=counts)
    sums = spec.window_sums(x, kernel, stride, pads)
    outputs = sums.shape[2:]
    found = sums * pool_factors(node, size, outputs) / pool_divisor(node, size, outputs)
    np.testing.assert_allclose(found, means, rtol=1e-6)


def test_a_padded_window_of_three_by_three_needs_36_parts() -> None:
    node = pool((3, 3), (1, 1), (1, 1, 1, 1), counts=False)
    assert pool_divisor(node, (4, 4), (4, 4)) == 36
    assert pool_factors(node, (4, 4), (4, 4))[:2, :2].tolist() == [[9, 6], [6, 4]]


def test_windows_without_padding_need_no_factors() -> None:
    node = pool((3, 3), (1, 1), (0, 0, 0, 0), counts=False)
    assert pool_divisor(node, (4, 4), (2, 2)) == 9
    assert (pool_factors(node, (4, 4), (2, 2)) == 1).all()
