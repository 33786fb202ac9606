"""What akd1000 runs and what it leaves to the CPU, limit by limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.bits import Bits, LayerBits
from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, Stage
from lowbitc.compiler.ir.types import TensorType
from lowbitc.passes.assign_devices import AssignDevices
from lowbitc.targets.registry import load_target

if TYPE_CHECKING:
    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.node import Node

CHIP = load_target("akd1000")


@dataclass
class Chain:
    """A float graph, node after node; each call reads the last value unless told otherwise."""

    shape: tuple[int, ...] = (1, 3, 32, 32)
    nodes: list[Node] = field(default_factory=list["Node"])
    types: dict[str, TensorType] = field(default_factory=dict[str, TensorType])
    constants: dict[str, Array] = field(default_factory=dict[str, "Array"])
    last: str = "x"

    def __post_init__(self) -> None:
        """Declare the input."""
        self.types["x"] = TensorType(self.shape, F32)

    @property
    def dims(self) -> tuple[int, ...]:
        return self.types[self.last].dims

    def put(self, kind: type[Node], after: tuple[int, ...], *inputs: str, **fields: object) -> str:
        name = f"{kind.op.lower()}{len(self.nodes)}"
        common: dict[str, object] = {
            "name": name,
            "inputs": inputs or (self.last,),
            "outputs": (f"{name}_out",),
            "sources": (Source(name, kind.op),),
        }
        self.nodes.append(kind(**common, **fields))  # type: ignore[arg-type]
        self.last = f"{name}_out"
        self.types[self.last] = TensorType(after, F32)
        return name

    def conv(
        self,
        filters: int = 8,
        kernel: tuple[int, int] = (3, 3),
        stride: int = 1,
        groups: int = 1,
        pads: tuple[int, ...] | None = None,
        dilation: int = 1,
    ) -> str:
        frames, channels, *size = self.dims
        after = [-(-n // stride) for n in size]
        total = [
            max((o - 1) * stride + k - n, 0) for o, k, n in zip(after, kernel, size, strict=True)
        ]
        same = (*(t // 2 for t in total), *(t - t // 2 for t in total))
        if pads is not None and not any(pads):
            after = [(n - k) // stride + 1 for n, k in zip(size, kernel, strict=True)]
        weight = f"w{len(self.constants)}"
        self.constants[weight] = np.ones((filters, channels // groups, *kernel), np.float32)
        self.types[weight] = TensorType(self.constants[weight].shape, F32)
        return self.put(
            ops.Conv,
            (frames, filters, *after),
            self.last,
            weight,
            kernel=kernel,
            stride=(stride,) * 2,
            dilation=(dilation,) * 2,
            pads=same if pads is None else pads,
            groups=groups,
        )

    def relu(self) -> str:
        return self.put(ops.Relu, self.dims)

    def image(self, filters: int = 8) -> None:
        """Add an input layer."""
        self.conv(filters)
        self.relu()

    def pool(self, size: tuple[int, int] = (2, 2), stride: tuple[int, int] = (2, 2)) -> str:
        frames, channels, *plane = self.dims
        after = [(n - k) // s + 1 for n, k, s in zip(plane, size, stride, strict=True)]
        fields = {"kernel": size, "stride": stride, "dilation": (1, 1), "pads": (0,) * 4}
        return self.put(ops.MaxPool, (frames, channels, *after), **fields)

    def mean(self) -> str:
        return self.put(ops.GlobalAveragePool, (*self.dims[:2], 1, 1))

    def dense(self, units: int = 10) -> str:
        if len(self.dims) > 2:
            self.put(ops.Flatten, (1, int(np.prod(self.dims[1:]))), axis=1)
        weight, inputs = f"w{len(self.constants)}", int(np.prod(self.dims))
        self.constants[weight] = np.ones((units, inputs), np.float32)
        self.types[weight] = TensorType((units, inputs), F32)
        return self.put(ops.Dense, (1, units), self.last, weight)

    def graph(self, *outputs: str) -> Graph:
        return Graph(
            name="g",
            inputs=("x",),
            outputs=outputs or (self.last,),
            nodes=tuple(self.nodes),
            types=self.types,
            constants=self.constants,
            stage=Stage.FOLDED,
        )

    def findings(self, bits: Bits | None = None) -> dict[str, tuple[Diagnostic, ...]]:
        return CHIP.findings(self.graph(), bits)

    def codes(self, bits: Bits | None = None) -> dict[str, list[str]]:
        return {name: [f.code for f in found] for name, found in self.findings(bits).items()}


def behind_image() -> Chain:
    chain = Chain()
    chain.image()
    return chain


def test_a_network_of_every_kind_of_layer_runs() -> None:
    chain = Chain()
    chain.conv(16, (5, 5), 2)
    chain.relu()
    chain.conv(16, (3, 3), 2)
    chain.relu()
    chain.conv(16)
    chain.relu()
    chain.pool()
    chain.conv(16, groups=16)
    chain.conv(24, (1, 1))
    chain.mean()
    chain.relu()
    chain.dense(10)
    chain.relu()
    chain.dense(4)
    assert chain.findings(Bits(8, 4, 4)) == {}


@pytest.mark.parametrize(
    ("shape", "layer", "code", "found"),
    [
        ((1, 3, 32, 300), {}, "LB243", "32 rows of 300 columns"),
        ((1, 1, 4, 32), {}, "LB243", "4 rows of 32 columns"),
        ((1, 3, 32, 32), {"kernel": (1, 1)}, "LB244", "kernel 1x1, stride 1x1"),
        ((1, 3, 32, 32), {"kernel": (3, 5)}, "LB244", "kernel 3x5, stride 1x1"),
        ((1, 3, 32, 32), {"stride": 4}, "LB244", "kernel 3x3, stride 4x4"),
        ((1, 3, 32, 32), {"dilation": 2}, "LB244", "dilation 2x2"),
        (
            (1, 3, 32, 32),
            {"stride": 2, "pads": (1, 1, 1, 1)},
            "LB244",
            "pads [1, 1, 1, 1] where it is [0, 0, 1, 1] or none",
        ),
        (
            (1, 3, 32, 32),
            {"filters": 65, "kernel": (5, 5)},
            "LB245",
            "65 filters of 5x5 on 3 channels, at most 64",
        ),
    ],
)
def test_the_input_layer_has_its_own_limits(
    shape: tuple[int, ...], layer: dict[str, object], code: str, found: str
) -> None:
    chain = Chain(shape)
    name = chain.conv(**layer)  # type: ignore[arg-type]
    (finding,) = chain.findings()[name]
    assert (finding.code, finding.found) == (code, found)


def test_the_input_layer_may_have_no_padding_and_its_pool_the_stride_of_its_size() -> None:
    chain = Chain((1, 1, 28, 28))
    chain.conv(8, (5, 5), pads=(0,) * 4)
    chain.relu()
    chain.pool((1, 2), (1, 2))
    chain.conv(8)
    assert chain.findings() == {}


@pytest.mark.parametrize(
    ("layer", "code", "found"),
    [
        ({"kernel": (2, 2)}, "LB246", "kernel 2x2"),
        ({"kernel": (9, 9)}, "LB246", "kernel 9x9"),
        ({"dilation": 2, "pads": (1,) * 4}, "LB246", "dilation 2x2"),
        ({"kernel": (1, 1), "stride": 2}, "LB247", "stride 2x2, kernel 1x1"),
        ({"pads": (0,) * 4}, "LB248", "pads [0, 0, 0, 0] where it is [1, 1, 1, 1]"),
        (
            {"stride": 2, "pads": (1,) * 4},
            "LB248",
            "pads [1, 1, 1, 1] where it is [0, 0, 1, 1]",
        ),
        ({"groups": 2}, "LB249", "2 groups of 8 channels, 8 filters"),
        ({"groups": 8}, "LB249", "followed by nothing"),
    ],
)
def test_later_convolutions_have_others(layer: dict[str, object], code: str, found: str) -> None:
    chain = behind_image()
    name = chain.conv(**layer)  # type: ignore[arg-type]
    assert (code, found) in {(f.code, f.found) for f in chain.findings()[name]}


def test_an_activation_between_the_halves_breaks_a_separable_layer() -> None:
    chain = behind_image()
    half = chain.conv(8, groups=8)
    clip = chain.relu()
    chain.conv(16, (1, 1))
    assert chain.codes() == {half: ["LB249"], clip: ["LB281"]}


def test_without_its_depthwise_half_a_pointwise_layer_reads_what_may_be_negative() -> None:
    chain = behind_image()
    half = chain.conv(8, (9, 9), groups=8)
    point = chain.conv(16, (1, 1))
    assert chain.codes() == {half: ["LB246"], point: ["LB289"]}


def test_layers_read_nothing_negative() -> None:
    chain = behind_image()
    chain.conv(8)
    second = chain.conv(8)
    finding = chain.findings()[second][0]
    assert (finding.code, finding.found) == ("LB289", "Conv conv2 may be negative")


def test_an_image_of_other_channels_must_not_be_negative_either() -> None:
    chain = Chain((1, 4, 32, 32))
    name = chain.conv()
    assert chain.codes() == {name: ["LB289"]}


def test_only_one_layer_is_the_input_layer() -> None:
    chain = Chain()
    chain.image()
    first = chain.last
    chain.last = "x"
    second = chain.conv(8)
    found = CHIP.findings(chain.graph(first, chain.last))
    assert [f.code for f in found[second]] == ["LB289"]


def test_sums_and_what_follows_them_stay_on_the_cpu() -> None:
    chain = behind_image()
    start = chain.last
    chain.conv(8)
    chain.put(ops.Add, chain.dims, start, chain.last)
    clip = chain.relu()
    chain.conv(8)
    found = chain.codes()
    assert found["add3"] == ["LB200"]
    assert found[clip] == ["LB281"]
    assert len(found) == 2


def test_a_clip_with_another_low_end_stays_on_the_cpu() -> None:
    chain = Chain()
    chain.conv()
    clip = chain.put(ops.Clamp, chain.dims, low=-1.0, high=6.0)
    assert chain.findings()[clip][0].found == "clip to -1 … 6"


def test_pools_have_their_sizes_and_a_convolution_on_both_sides() -> None:
    chain = behind_image()
    chain.conv(8)
    chain.relu()
    pool = chain.pool((3, 3), (3, 3))
    assert chain.codes() == {pool: ["LB283", "LB284"]}
    plain = Chain()
    alone = plain.pool()
    assert plain.codes() == {alone: ["LB282", "LB284"]}


def test_a_pool_before_a_dense_layer_takes_the_dense_layers_vector_off_the_chip_too() -> None:
    chain = behind_image()
    pool = chain.pool()
    dense = chain.dense()
    found = chain.codes()
    assert found[pool] == ["LB284"]
    assert dense not in found


def test_a_mean_is_over_few_columns_and_enough_rows() -> None:
    chain = Chain((1, 3, 40, 40))
    chain.image()
    mean = chain.mean()
    assert chain.findings()[mean][0].found == "40 rows of 40 columns"
    low = Chain((1, 1, 6, 32))
    low.image()
    low.conv(8, stride=2)
    low.relu()
    low.conv(8, stride=2)
    low.relu()
    mean = low.mean()
    assert low.codes() == {mean: ["LB286"]}


def test_dense_layers_read_no_more_inputs_than_their_addresses_hold() -> None:
    chain = Chain((1, 3, 80, 80))
    chain.image(10)
    dense = chain.dense()
    assert chain.findings()[dense][0].found == "64,000 inputs"


def test_layout_changes_only_for_a_dense_layer() -> None:
    chain = behind_image()
    moved = chain.put(ops.Reshape, (1, 8, 1024), shape=(1, 8, 1024))
    assert chain.findings()[moved][0].found == "shape [1, 8, 32, 32] to [1, 8, 1024]"


def test_separable_layers_have_no_1_bit_weights_and_later_ones_no_8_bit_ones() -> None:
    chain = behind_image()
    half = chain.conv(8, groups=8)
    point = chain.conv(8, (1, 1))
    chain.relu()
    plain = chain.conv(8)
    found = chain.codes(Bits(8, 1, 4))
    assert found[half] == found[point] == ["LB280"]
    assert plain not in found
    one = Bits(8, 4, 4, (LayerBits(plain, weights=8),))
    assert chain.codes(one) == {plain: ["LB280"]}


def test_the_first_layers_bits_are_not_for_one_that_the_input_unit_does_not_run() -> None:
    chain = Chain((1, 4, 32, 32))
    chain.relu()
    name = chain.conv()
    assert chain.codes(Bits(8, 4, 4))[name] == ["LB280"]
    assert name not in chain.codes(Bits(4, 4, 4))


def test_bits_that_the_chip_does_not_hold_are_refused_with_those_that_it_does() -> None:
    found = list(CHIP.unheld(Bits(8, 8, 8, (LayerBits("conv", activations=8),))))
    assert [f.code for f in found] == ["LB285"] * 3
    assert found[0].message == "akd1000 does not hold weights of 8 bits"
    assert found[0].allowed == "1, 2, 4"
    assert not list(CHIP.unheld(Bits(8, 4, 4)))


def test_a_layer_that_is_kept_on_the_cpu_takes_along_what_is_part_of_it() -> None:
    chain = behind_image()
    kept = chain.conv(8)
    clip = chain.relu()
    pool = chain.pool()
    chain.conv(8)
    bits = Bits(8, 4, 4, (LayerBits(kept, on_host=True),))
    reasons = AssignDevices(lambda g: CHIP.findings(g, bits), bits).run(chain.graph())
    assert set(reasons.graph.host_reasons) == {kept, clip, pool}


def test_every_limit_names_where_it_is_published() -> None:
    for rule in CHIP.rules:
        published = rule.code == "LB213" or rule.code >= "LB243"
        assert bool(rule.source) is published
