"""ONNX's own backend tests pass through the importer, the float IR and the exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from lowbitc.compiler import backend
from lowbitc.compiler.backend import LowbitcBackend
from tests.conformance.suite import PlainBackend, read_skips, run_suite

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx import ModelProto

_X = np.asarray([[1, -2]], np.float32)


@pytest.mark.conformance
def test_every_onnx_backend_test_passes_or_is_listed_with_its_reason(
    record_property: Callable[[str, object], None],
) -> None:
    skips = read_skips()
    outcomes = run_suite(LowbitcBackend)
    failed = {name: said for name, said in outcomes.items() if said}
    unexpected = {name: said for name, said in failed.items() if name not in skips.names}
    # Other versions and machines have other tests and kernels: a test that ONNX Runtime fails on
    # the untouched model is no defect of lowbitc's.
    plain = run_suite(PlainBackend, set(unexpected)) if unexpected else {}
    lines = [f"ONNX backend tests: {len(outcomes) - len(failed)} passed, {len(failed)} skipped"]
    for reason, names in sorted(skips.reasons.items()):
        lines.append(f"  {len(set(names) & set(failed)):4} {reason}")
    if plain:
        lines.append(f"  {len(plain):4} not listed; ONNX Runtime alone fails too, on this machine")
    record_property("conformance", "\n".join(lines))
    assert not {name: said for name, said in unexpected.items() if not plain[name]}
    if skips.current:
        needless = sorted(skips.binding - set(failed))
        assert not needless, "run refresh_skips.py: these pass now, or are no tests any more"


def _relu_model(opset: int, dims: list[int | str]) -> ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name in "xy")
    relu = helper.make_node("Relu", ["x"], ["y"])
    return helper.make_model(
        helper.make_graph([relu], "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


@pytest.mark.parametrize("inputs", [_X, [_X], {"x": _X}])
def test_a_model_runs_on_inputs_by_place_or_by_name(inputs: backend.Inputs) -> None:
    (found,) = backend.run_model(_relu_model(13, [1, 2]), inputs)
    np.testing.assert_array_equal(found, [[1, 0]])


def test_free_dimensions_take_the_sizes_of_the_arrays() -> None:
    prepared = backend.prepare(_relu_model(13, ["n", "m"]))
    for shape in ((1, 2), (3, 4), (1, 2)):
        (found,) = prepared.run([np.full(shape, -1, np.float32)])
        np.testing.assert_array_equal(found, np.zeros(shape))


def test_models_of_old_operator_sets_are_converted() -> None:
    (found,) = backend.run_model(_relu_model(6, [1, 2]), [_X])
    np.testing.assert_array_equal(found, [[1, 0]])


def test_a_node_runs_alone() -> None:
    node = helper.make_node("Concat", ["a", "b"], ["c"], axis=1)
    (found,) = backend.run_node(node, [_X, _X])
    np.testing.assert_array_equal(found, [[1, -2, 1, -2]])
    typed = [(np.dtype(np.float32), (1, 4))]
    (found,) = backend.run_node(node, [_X, _X], outputs_info=typed, opset_version=13)
    np.testing.assert_array_equal(found, [[1, -2, 1, -2]])


def test_only_the_cpu_is_supported() -> None:
    assert backend.supports_device("CPU:0")
    assert not backend.supports_device("CUDA")
    with pytest.raises(ValueError, match="not on CUDA"):
        backend.prepare(_relu_model(13, [1, 2]), "CUDA")
