"""What lb1 runs and what it leaves to the CPU, rule by rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lowbitc.compiler.codes import CATALOGUE
from lowbitc.compiler.diagnostics import CompileError, Source
from lowbitc.compiler.elements import F32, PlainType
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, Stage
from lowbitc.compiler.ir.types import OpaqueType, TensorType
from lowbitc.targets.registry import TARGETS, load_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import ValueType

WINDOW: dict[str, Any] = {"kernel": (3, 3), "stride": (1, 1), "dilation": (1, 1), "pads": (1,) * 4}
POOL: dict[str, Any] = {"kernel": (2, 2), "stride": (2, 2), "dilation": (1, 1), "pads": (0,) * 4}
IMAGE = (1, 4, 8, 8)


def node(kind: type[Node], *inputs: str, **fields: object) -> Node:
    common: dict[str, Any] = {"name": "n", "outputs": ("y",), "sources": (Source("/n", "Op"),)}
    common.update(fields, inputs=inputs or ("x",))
    return kind(**common)


def findings(
    made: Node,
    x: tuple[int, ...] | None = IMAGE,
    y: tuple[int, ...] | None = IMAGE,
    types: Mapping[str, ValueType] | None = None,
    **constants: tuple[int, ...],
) -> tuple[Diagnostic, ...]:
    """Return what lb1 says of one node."""
    held: dict[str, ValueType] = {"x": TensorType(x, F32), "y": TensorType(y, F32)}
    arrays = {name: np.ones(shape, np.float32) for name, shape in constants.items()}
    held.update((name, TensorType(shape, F32)) for name, shape in constants.items())
    graph = Graph(
        name="g",
        inputs=tuple(v for v in made.inputs if v not in arrays),
        outputs=("y",),
        nodes=(made,),
        types={**held, **(types or {})},
        constants=arrays,
        stage=Stage.FOLDED,
    )
    return load_target("lb1").findings(graph).get("n", ())


def codes(
    made: Node,
    x: tuple[int, ...] | None = IMAGE,
    y: tuple[int, ...] | None = IMAGE,
    types: Mapping[str, ValueType] | None = None,
    **constants: tuple[int, ...],
) -> list[str]:
    return [d.code for d in findings(made, x, y, types, **constants)]


CONV = node(ops.Conv, "x", "w", "b", **WINDOW)
W = (4, 4, 3, 3)


@pytest.mark.parametrize(
    ("made", "x", "y", "constants"),
    [
        (CONV, IMAGE, IMAGE, {"w": W, "b": (4,)}),
        (
            node(ops.Conv, "x", "w", kernel=(9,), stride=(4,), dilation=(2,), pads=(0, 0)),
            (1, 2, 64),
            (1, 4, 12),
            {"w": (4, 2, 9)},
        ),
        (
            node(ops.ConvTranspose, "x", "w", output_padding=(0, 0), **WINDOW),
            IMAGE,
            IMAGE,
            {"w": W},
        ),
        (node(ops.Dense, "x", "w"), (1, 7), (1, 3), {"w": (3, 7)}),
        (node(ops.Dense, "x", "w"), (1, 5, 7), (1, 5, 3), {"w": (3, 7)}),
        (node(ops.ScaleShift, "x", "a", "b"), IMAGE, IMAGE, {"a": (4,), "b": (4,)}),
        (node(ops.Bound, "x", "a", "b"), IMAGE, IMAGE, {"a": (4,), "b": (4,)}),
        (node(ops.Relu), IMAGE, IMAGE, {}),
        (node(ops.Gelu), IMAGE, IMAGE, {}),
        (node(ops.LeakyRelu, alpha=0.1), IMAGE, IMAGE, {}),
        (node(ops.MaxPool, **POOL), IMAGE, (1, 4, 4, 4), {}),
        (node(ops.AveragePool, **POOL), IMAGE, (1, 4, 4, 4), {}),
        (node(ops.AveragePool, count_padding=True, **WINDOW), IMAGE, IMAGE, {}),
        (node(ops.GlobalAveragePool), IMAGE, (1, 4, 1, 1), {}),
        (node(ops.Flatten, axis=1), IMAGE, (1, 256), {}),
        (node(ops.Reshape, shape=(0, -1)), IMAGE, (1, 256), {}),
        (node(ops.Transpose, perm=(0, 2, 3, 1)), IMAGE, (1, 8, 8, 4), {}),
        (
            node(ops.Slice, starts=(1,), ends=(3,), axes=(1,), steps=(1,)),
            IMAGE,
            (1, 2, 8, 8),
            {},
        ),
        (node(ops.Upsample, factors=(1, 1, 2, 2)), IMAGE, (1, 4, 16, 16), {}),
        (node(ops.Pad, pads=(0, 0, 1, 1, 0, 0, 1, 1)), IMAGE, (1, 4, 10, 10), {}),
    ],
)
def test_lb1_runs(
    made: Node, x: tuple[int, ...], y: tuple[int, ...], constants: dict[str, tuple[int, ...]]
) -> None:
    assert findings(made, x, y, None, **constants) == ()


def test_add_and_concat_of_activations_run() -> None:
    other: dict[str, ValueType] = {"z": TensorType(IMAGE, F32)}
    assert codes(node(ops.Add, "x", "z"), types=other) == []
    assert codes(node(ops.Concat, "x", "z", axis=1), y=(1, 8, 8, 8), types=other) == []


def test_an_operator_that_the_chip_has_not_is_named_as_the_user_knows_it() -> None:
    made = node(ops.HostOp, domain="", op_type="GRU", proto=b"")
    (found,) = findings(made)
    assert (found.code, found.found, found.sources) == ("LB200", "GRU", (Source("/n", "Op"),))
    assert "lb1 does not run GRU" in found.message
    assert codes(node(ops.Softmax, axis=1)) == ["LB200"]


def test_shapes_that_depend_on_the_data_stay_on_the_cpu() -> None:
    assert codes(node(ops.Relu), (1, -1), (1, -1))[0] == "LB201"
    assert codes(node(ops.Relu), None, None)[0] == "LB201"
    assert codes(node(ops.Relu), (1, 0), (1, 0))[0] == "LB201"
    assert "LB201" in codes(node(ops.Relu), types={"x": OpaqueType(b"")})


def test_other_number_types_stay_on_the_cpu() -> None:
    integers: dict[str, ValueType] = {"x": TensorType(IMAGE, PlainType("int64"))}
    (found,) = findings(node(ops.Relu), types=integers)
    assert (found.code, found.found) == ("LB202", "x is int64")


def test_vectors_without_frames_stay_on_the_cpu() -> None:
    assert codes(node(ops.Relu), (7,), (7,)) == ["LB203"]


def test_weights_are_finite_constants() -> None:
    computed: dict[str, ValueType] = {"w": TensorType(W, F32)}
    assert codes(node(ops.Conv, "x", "w", **WINDOW), types=computed) == ["LB210"]
    graph_constant = np.full(W, np.nan, np.float32)
    held = {v: TensorType(IMAGE, F32) for v in ("x", "y")} | {"w": TensorType(W, F32)}
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("y",),
        nodes=(node(ops.Conv, "x", "w", **WINDOW),),
        types=held,
        constants={"w": graph_constant},
        stage=Stage.FOLDED,
    )
    assert [d.code for d in load_target("lb1").findings(graph)["n"]] == ["LB211"]


def test_layers_of_constants_are_not_for_the_chip() -> None:
    assert codes(node(ops.Relu, "c"), c=IMAGE) == ["LB212"]


def test_convolutions_of_volumes_stay_on_the_cpu() -> None:
    made = node(
        ops.Conv, "x", "w", kernel=(1,) * 3, stride=(1,) * 3, dilation=(1,) * 3, pads=(0,) * 6
    )
    volume = (1, 4, 8, 8, 8)
    assert codes(made, volume, volume, w=(4, 4, 1, 1, 1)) == ["LB213"]


def test_max_pools_see_at_least_one_input() -> None:
    made = node(ops.MaxPool, kernel=(2, 2), stride=(2, 2), dilation=(1, 1), pads=(2, 0, 0, 0))
    assert codes(made, y=(1, 4, 5, 4)) == ["LB220"]


def test_windows_of_average_pools_are_whole_and_share_a_divisor() -> None:
    dilated = {**WINDOW, "dilation": (2, 2), "pads": (2, 2, 2, 2)}
    assert codes(node(ops.AveragePool, **dilated)) == ["LB221"]
    cut_off = node(ops.AveragePool, ceil_mode=True, **{**POOL, "stride": (3, 3)})
    assert codes(cut_off, y=(1, 4, 3, 3)) == []
    ragged = node(ops.AveragePool, ceil_mode=True, **{**POOL, "kernel": (3, 3)})
    assert codes(ragged, y=(1, 4, 4, 4)) == ["LB221"]


def test_adds_of_other_shapes_stay_on_the_cpu() -> None:
    other: dict[str, ValueType] = {"z": TensorType((1, 4, 1, 1), F32)}
    (found,) = findings(node(ops.Add, "x", "z"), types=other)
    assert (found.code, found.found) == ("LB230", "shapes [1, 4, 8, 8] and [1, 4, 1, 1]")
    assert codes(node(ops.Add, "x", "c"), c=IMAGE) == ["LB230"]


def test_constants_are_not_joined() -> None:
    made = node(ops.Concat, "x", "c", axis=1)
    assert codes(made, y=(1, 8, 8, 8), c=IMAGE) == ["LB231"]


def test_a_scale_has_one_number_a_channel() -> None:
    made = node(ops.ScaleShift, "x", "a", "b")
    assert codes(made, a=(1, 4, 8, 8), b=(4,)) == ["LB232"]


def test_frames_stay_first() -> None:
    assert codes(node(ops.Transpose, perm=(1, 0, 2, 3)), y=(4, 1, 8, 8)) == ["LB240"]
    assert codes(node(ops.Reshape, shape=(4, 64)), y=(4, 64)) == ["LB240"]
    other: dict[str, ValueType] = {"z": TensorType(IMAGE, F32)}
    made = node(ops.Concat, "x", "z", axis=0)
    assert codes(made, y=(2, 4, 8, 8), types=other) == ["LB240"]


def test_slices_go_forwards_and_padding_is_zero() -> None:
    back = node(ops.Slice, starts=(7,), ends=(0,), axes=(2,), steps=(-1,))
    assert codes(back, y=(1, 4, 7, 8)) == ["LB241"]
    pads = (0, 0, 1, 1, 0, 0, 1, 1)
    after = (1, 4, 10, 10)
    assert codes(node(ops.Pad, pads=pads, mode="reflect"), y=after) == ["LB242"]
    assert codes(node(ops.Pad, pads=pads, value=1.0), y=after) == ["LB242"]


def test_a_product_needs_a_constant_matrix() -> None:
    other: dict[str, ValueType] = {"z": TensorType(IMAGE, F32)}
    assert codes(node(ops.MatMul, "x", "z"), types=other) == ["LB210"]
    assert codes(node(ops.MatMul, "x", "w"), w=(1, 4, 8, 8)) == ["LB210"]


def test_all_broken_rules_are_reported() -> None:
    made = node(
        ops.Conv, "x", "w", kernel=(1,) * 3, stride=(1,) * 3, dilation=(1,) * 3, pads=(0,) * 6
    )
    volume = (1, 4, 8, 8, 8)
    computed: dict[str, ValueType] = {"w": TensorType((4, 4, 1, 1, 1), F32)}
    assert codes(made, volume, volume, types=computed) == ["LB210", "LB213"]


def test_every_rule_is_in_the_catalogue_and_says_what_to_do() -> None:
    for name in TARGETS:
        for rule in load_target(name).rules:
            assert rule.code in CATALOGUE
            assert rule.text
            assert rule.hint


def test_every_figure_of_a_target_names_its_basis_and_source() -> None:
    for name in TARGETS:
        target = load_target(name)
        assert target.name == name
        for figure in target.figures.values():
            assert figure.basis in {"published", "calibrated", "assumed"}
            assert figure.source
            assert figure.value > 0


def test_an_unknown_target_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(CompileError) as caught:
        load_target("akida9")
    (found,) = caught.value.diagnostics
    assert (found.code, found.allowed) == ("LB299", ", ".join(TARGETS))
