"""Every float operator, written at several operator sets, computes what its docstring says."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import checker

from lowbitc.compiler.elements import F32, Float32, PlainType
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.export import export_model
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph
from lowbitc.compiler.ir.types import TensorType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from lowbitc.compiler.ir.node import Node

_RANDOM = np.random.default_rng(7)
_X = _RANDOM.normal(size=(1, 4, 6, 6)).astype(np.float32)
_ROWS = _RANDOM.normal(size=(1, 5, 8)).astype(np.float32)
_WEIGHT = _RANDOM.normal(size=(3, 8)).astype(np.float32)
_TURNED = np.transpose(_WEIGHT)
_BIAS = _RANDOM.normal(size=3).astype(np.float32)
_PER_CHANNEL = _RANDOM.uniform(0.5, 2, size=(4, 4)).astype(np.float32)
_WINDOW: dict[str, Any] = {
    "kernel": (2, 2),
    "stride": (2, 2),
    "dilation": (1, 1),
    "pads": (0, 0, 0, 0),
}


def _erf(x: Float32) -> Float32:
    flat = [math.erf(value) for value in x.ravel().tolist()]
    return np.reshape(np.asarray(flat, np.float32), x.shape)


def _constants() -> dict[str, Float32]:
    return {}


@dataclass(frozen=True)
class Case:
    """A node class with its attributes, an input, constants, and the expected outputs."""

    operator: type[Node]
    x: Float32
    expected: Sequence[Float32]
    constants: Mapping[str, Float32] = field(default_factory=_constants)
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    first_opset: int = 7

    @property
    def title(self) -> str:
        """Operator and attributes."""
        said = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        return f"{self.operator.op}({said})"


def _case(
    operator: type[Node],
    x: Float32,
    *expected: npt.ArrayLike,
    constants: Sequence[Float32] = (),
    first_opset: int = 7,
    **attributes: object,
) -> Case:
    named = {f"constant{i}": array for i, array in enumerate(constants)}
    floats = [np.asarray(array, np.float32) for array in expected]
    return Case(operator, x, floats, named, attributes, first_opset)


def _softmax(x: Float32, axis: int | tuple[int, ...]) -> Float32:
    raised = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return raised / raised.sum(axis=axis, keepdims=True)


def _windows(x: Float32) -> Float32:
    n, c, h, w = x.shape
    return np.moveaxis(np.reshape(x, (n, c, h // 2, 2, w // 2, 2)), 3, 4)


def _sigmoid(x: Float32) -> Float32:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


_MEAN = _windows(_X).mean(axis=(-2, -1))
_BATCH_NORM = tuple(_PER_CHANNEL)
_CHANNELS = np.reshape(_PER_CHANNEL, (4, 1, 4, 1, 1))
_TANH_GELU = 0.5 * _X * (1 + np.tanh(math.sqrt(2 / math.pi) * (_X + 0.044715 * _X**3)))

CASES = (
    _case(ops.Relu, _X, np.maximum(_X, 0)),
    _case(ops.Clamp, _X, np.minimum(np.maximum(_X, 0), 0.5), low=0.0, high=0.5),
    _case(ops.Clamp, _X, np.maximum(_X, -0.25), low=-0.25, high=math.inf),
    _case(ops.Clamp, _X, np.minimum(_X, 0.25), low=-math.inf, high=0.25),
    _case(ops.Clamp, _X, _X, low=-math.inf, high=math.inf),
    _case(ops.LeakyRelu, _X, np.where(_X >= 0, _X, 0.1 * _X), alpha=0.1),
    _case(ops.Elu, _X, np.where(_X >= 0, _X, 0.7 * np.expm1(_X)), alpha=0.7),
    _case(ops.Sigmoid, _X, _sigmoid(_X)),
    _case(ops.Tanh, _X, np.tanh(_X)),
    _case(ops.Erf, _X, _erf(_X), first_opset=9),
    _case(ops.Softplus, _X, np.log1p(np.exp(_X))),
    _case(ops.HardSigmoid, _X, np.minimum(np.maximum(0.3 * _X + 0.4, 0), 1), alpha=0.3, beta=0.4),
    _case(ops.HardSwish, _X, _X * np.minimum(np.maximum(_X / 6 + 0.5, 0), 1)),
    _case(ops.Silu, _X, _X * _sigmoid(_X)),
    _case(ops.Gelu, _X, _X * 0.5 * (1 + _erf(_X / math.sqrt(2))), first_opset=9),
    _case(ops.Gelu, _X, _TANH_GELU, tanh=True, first_opset=9),
    _case(ops.Add, _X, _X + _PER_CHANNEL[0, 0], constants=[_PER_CHANNEL[:1, :1]]),
    _case(ops.Sub, _X, _X - _PER_CHANNEL[0, 0], constants=[_PER_CHANNEL[:1, :1]]),
    _case(ops.Mul, _X, _X * _PER_CHANNEL[0, 0], constants=[_PER_CHANNEL[:1, :1]]),
    _case(ops.Div, _X, _X / _PER_CHANNEL[0, 0], constants=[_PER_CHANNEL[:1, :1]]),
    _case(ops.Dense, _ROWS, _ROWS @ _TURNED + _BIAS, constants=[_WEIGHT, _BIAS]),
    _case(ops.Dense, _ROWS[0], _ROWS[0] @ _TURNED + _BIAS, constants=[_WEIGHT, _BIAS]),
    _case(ops.Dense, _ROWS[0], _ROWS[0] @ _TURNED, constants=[_WEIGHT]),
    _case(ops.MatMul, _ROWS, _ROWS @ _TURNED, constants=[_TURNED]),
    _case(
        ops.Gemm,
        _ROWS[0],
        0.5 * (_ROWS[0] @ _TURNED) + 2 * _BIAS,
        constants=[_WEIGHT, _BIAS],
        alpha=0.5,
        beta=2.0,
        trans_b=True,
    ),
    _case(ops.Gemm, np.transpose(_ROWS[0]), _ROWS[0] @ _TURNED, constants=[_TURNED], trans_a=True),
    _case(
        ops.BatchNorm,
        _X,
        (_X - _CHANNELS[2]) / np.sqrt(_CHANNELS[3] + 1e-3) * _CHANNELS[0] + _CHANNELS[1],
        constants=_BATCH_NORM,
        epsilon=1e-3,
    ),
    _case(ops.ScaleShift, _X, _X * _CHANNELS[0] + _CHANNELS[1], constants=_BATCH_NORM[:2]),
    _case(
        ops.ScaleShift,
        _X,
        _X * _CHANNELS[0],
        constants=[_PER_CHANNEL[0], np.zeros_like(_PER_CHANNEL[1])],
    ),
    _case(
        ops.ScaleShift,
        _X,
        _X + _CHANNELS[1],
        constants=[np.ones_like(_PER_CHANNEL[0]), _PER_CHANNEL[1]],
    ),
    _case(
        ops.Bound,
        _X,
        np.minimum(np.maximum(_X, -_CHANNELS[0][0]), _CHANNELS[1][0]),
        constants=[-_PER_CHANNEL[0], _PER_CHANNEL[1]],
        first_opset=8,
    ),
    _case(
        ops.FakeQuantize,
        _X,
        np.clip(np.rint(_X / np.float32(0.3)), -3, 4) * np.float32(0.3),
        first_opset=11,
        scale=0.3,
        low=-3,
        high=4,
    ),
    _case(ops.MaxPool, _X, _windows(_X).max(axis=(-2, -1)), **_WINDOW),
    _case(
        ops.MaxPool,
        _X[..., :5],
        np.maximum.reduceat(np.maximum.reduceat(_X[..., :5], [0, 2, 4], 3), [0, 2, 4], 2),
        **_WINDOW,
        ceil_mode=True,
        first_opset=10,
    ),
    _case(ops.AveragePool, _X, _MEAN, **_WINDOW),
    _case(
        ops.AveragePool,
        _X[..., :2, :2],
        _X[..., :2, :2] / 4,
        **dict(_WINDOW, pads=(1, 1, 1, 1)),
        count_padding=True,
    ),
    _case(ops.GlobalAveragePool, _X, _X.mean(axis=(2, 3), keepdims=True)),
    _case(ops.GlobalMaxPool, _X, _X.max(axis=(2, 3), keepdims=True)),
    _case(ops.ReduceMean, _X, _X.mean(axis=(2, 3)), axes=(2, 3), keepdims=False),
    _case(ops.ReduceMean, _X, _X.mean(axis=1, keepdims=True), axes=(1,), keepdims=True),
    _case(ops.ReduceMean, _X, _X, axes=(), keepdims=True),
    _case(ops.Softmax, _X, _softmax(_X, 3), axis=3),
    _case(ops.Softmax, _X, _softmax(_X, 1), axis=1),
    _case(ops.Softmax, _X, _softmax(_X, (2, 3)), axis=2, coerce=True),
    _case(ops.Concat, _X, np.concatenate([_X, _X[:, :1]], 1), constants=[_X[:, :1]], axis=1),
    _case(ops.Split, _X, _X[:, :1], _X[:, 1:], axis=1, sizes=(1, 3)),
    _case(ops.Reshape, _X, np.reshape(_X, (1, 24, 6)), shape=(0, -1, 6)),
    _case(ops.Reshape, _X, np.reshape(_X, (24, 6)), shape=(24, 6)),
    _case(ops.Flatten, _X, np.reshape(_X, (4, 36)), axis=2),
    _case(ops.Flatten, _X, np.reshape(_X, (1, 144)), axis=0),
    _case(ops.Squeeze, _X[:, :, :1], _X[:, :, 0], axes=(2,)),
    _case(ops.Squeeze, _X[:, :, :1], _X[0, :, 0], axes=(0, 2)),
    _case(ops.Unsqueeze, _X, _X[:, :, None], axes=(2,)),
    _case(ops.Unsqueeze, _X, _X[None], axes=(0,)),
    _case(ops.Transpose, _X, np.transpose(_X, (0, 2, 3, 1)), perm=(0, 2, 3, 1)),
    _case(
        ops.Pad,
        _X,
        np.pad(_X, ((0, 0), (0, 0), (1, 0), (2, 1)), constant_values=0.5),
        pads=(0, 0, 1, 2, 0, 0, 0, 1),
        value=0.5,
    ),
    _case(
        ops.Pad,
        _X,
        np.pad(_X, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="reflect"),
        pads=(0, 0, 1, 0, 0, 0, 1, 0),
        mode="reflect",
    ),
    _case(ops.Slice, _X, _X[:, 1:3], starts=(1,), ends=(3,), axes=(1,), steps=(1,)),
    _case(
        ops.Slice,
        _X,
        _X[:, :, ::2, ::-1],
        starts=(0, -1),
        ends=(6, -99),
        axes=(2, 3),
        steps=(2, -1),
        first_opset=10,
    ),
    _case(ops.Upsample, _X, _X.repeat(2, 2).repeat(3, 3), factors=(1, 1, 2, 3)),
    _case(ops.Identity, _X, _X),
)


def _graph(case: Case, opset: int) -> Graph:
    outputs = tuple(f"y{i}" for i in range(len(case.expected)))
    node = case.operator(
        name="node", inputs=("x", *case.constants), outputs=outputs, sources=(), **case.attributes
    )
    arrays = {"x": case.x, **case.constants, **dict(zip(outputs, case.expected, strict=True))}
    return Graph(
        name="case",
        inputs=("x",),
        outputs=outputs,
        nodes=(node,),
        types={name: TensorType(array.shape, F32) for name, array in arrays.items()},
        constants=case.constants,
        opset=opset,
    )


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 13, 14, 18, 20, 21])
@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_the_written_model_is_valid_and_computes_the_operator(case: Case, opset: int) -> None:
    graph = _graph(case, opset)
    model = export_model(graph)
    checker.check_model(model, full_check=True)  # pyright: ignore[reportUnknownMemberType]
    assert model.opset_import[0].version == max(opset, case.first_opset)
    found = FloatSession(graph, threads=1).arrays({"x": case.x})
    for name, expected in zip(graph.outputs, case.expected, strict=True):
        value = np.asarray(found[name], np.float32)
        assert value.shape == expected.shape
        np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-6)


_ONE_BY_ONE = {
    # Axis 0 of the input is not that of the output, or a constant has one sample only.
    "Gemm(trans_a=True)",
    "Concat(axis=1)",
}


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_samples_that_run_at_once_give_what_each_gives_alone(case: Case) -> None:
    graph = _graph(case, 21)
    rows = export_model(graph).graph.input[0].type.tensor_type.shape.dim[0]
    assert bool(rows.dim_param) is (case.title not in _ONE_BY_ONE)
    session = FloatSession(graph, threads=1)
    samples = (case.x, np.asarray(case.x[:, ::-1], np.float32))
    together = session.arrays({"x": np.concatenate(samples)})
    for name in graph.outputs:
        alone = [np.asarray(session.arrays({"x": x})[name], np.float32) for x in samples]
        value = np.asarray(together[name], np.float32)
        np.testing.assert_allclose(value, np.concatenate(alone), rtol=1e-5, atol=1e-6)


def test_every_float_operator_has_a_case_here_or_in_the_convolution_tests() -> None:
    classes = {c for c in vars(ops).values() if isinstance(c, type) and issubclass(c, ops.Node)}
    elsewhere = {ops.Node, ops.HostOp, ops.Conv, ops.ConvTranspose}
    assert classes - elsewhere == {case.operator for case in CASES}


def test_constants_of_half_precision_graphs_are_half_precision() -> None:
    half = PlainType("float16")
    x = _X.astype(np.float16)
    node = ops.Clamp(name="c", inputs=("x",), outputs=("y",), sources=(), low=-0.5, high=0.5)
    types = {name: TensorType(x.shape, half) for name in ("x", "y")}
    graph = Graph(name="half", inputs=("x",), outputs=("y",), nodes=(node,), types=types)
    found = FloatSession(graph, threads=1).arrays({"x": x})["y"]
    np.testing.assert_array_equal(found, np.minimum(np.maximum(x, -0.5), 0.5))
