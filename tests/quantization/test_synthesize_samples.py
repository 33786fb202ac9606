"""Images made up for a network without data: the range that it was trained on, and their use."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lowbitc
from lowbitc.compilation import compile_with
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.frontend import import_model
from lowbitc.options import settle
from lowbitc.passes.propagate_moments import batchnorm_moments
from lowbitc.passes.synthesize_samples import dead_leaves, synthesize_samples


def trained_on(
    black: float, white: float, shape: tuple[int, ...] = (1, 3, 24, 24)
) -> onnx.ModelProto:
    """Return a network whose batch norms have the statistics of images in a range."""
    random = np.random.default_rng(4)
    images = dead_leaves(32, 3, 24, 24) * (white - black) + black
    w = random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), (2, 3))
    sums = np.einsum("nchwij,ocij->onhw", windows, w, optimize=True).reshape(8, -1)
    held = {
        "w": w,
        "gamma": random.uniform(0.5, 1.5, 8),
        "beta": random.normal(0, 0.5, 8),
        "mean": sums.mean(axis=1),
        "var": sums.var(axis=1),
        "v": random.normal(0, 0.3, (5, 8)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "var"], ["b"]),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(np.asarray(a, np.float32), name) for name, a in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize(("black", "white"), [(0, 1), (-1, 1), (0, 255), (-128, 127)])
def test_the_range_is_the_one_that_the_batch_norms_were_trained_on(
    black: float, white: float
) -> None:
    graph = import_model(trained_on(black, white)).graph
    made = synthesize_samples(graph, batchnorm_moments(graph))
    assert made is not None
    assert (made.span.black, made.span.white) == (black, white)
    assert made.images.min() >= black
    assert made.images.max() <= white


def test_without_batch_norms_nothing_tells_the_range_and_no_images_are_made() -> None:
    graph = import_model(trained_on(0, 1)).graph
    assert synthesize_samples(graph, {}) is None


def test_the_images_are_the_same_each_time_and_differ_from_each_other() -> None:
    first, second = dead_leaves(4, 3, 16, 16), dead_leaves(4, 3, 16, 16)
    assert np.array_equal(first, second)
    assert np.abs(first[0] - first[1]).mean() > 0.05


def test_weights_are_rounded_toward_the_float_outputs_without_data_too() -> None:
    model = trained_on(0, 255)
    result = compile_with(model, settle(None, bits="8/4/4"))
    assert [d.code for d in result.diagnostics if d.code == "LB310"] == ["LB310"]
    (told,) = (d for d in result.diagnostics if d.code == "LB310")
    assert "0 to 255" in told.found
    x = dead_leaves(64, 3, 24, 24)[32:] * 255
    session = lowbitc.Simulator(result.program)
    held = FloatSession(import_model(model).graph, threads=1)
    rows = [held.arrays({"x": image[np.newaxis]})["y"] for image in x]
    wanted = np.concatenate([np.asarray(row, np.float64) for row in rows])
    found = np.asarray(session.run({"x": x})["y"], np.float64).reshape(wanted.shape)
    assert np.square(found - wanted).mean() < 0.02 * np.square(wanted).mean()
