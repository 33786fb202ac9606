"""Pools, Adds, copies and whole plans equal the executable specification."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lowbitc.compiler.elements import Alphabet, LevelType
from lowbitc.compiler.numerics import spec
from lowbitc.targets.native import AddStage, Raw, Requantize, Table, Thresholds, Window
from lowbitc.targets.native.builder import PlanBuilder
from tests.native.cases import (
    BYTE,
    FULL,
    PATHS,
    needs_extension,
    random_levels,
    random_weights,
    ratio,
    requantized,
)

pytestmark = needs_extension

WINDOWS = [
    Window((3, 3), (2, 2), (1, 1, 1, 1)),
    Window((2, 2), (2, 2)),
    Window((3, 2), (1, 2), (1, 0, 2, 1), (2, 3)),
    Window((1, 5), (1, 3), (0, 2, 0, 2)),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("levels", [BYTE, FULL, (-128, -3)])
@pytest.mark.parametrize("window", WINDOWS)
def test_max_pool_equals_the_specification(
    window: Window, levels: tuple[int, int], path: str
) -> None:
    rng = np.random.default_rng(0)
    x = random_levels(rng, (3, 37, 11, 13), *levels)
    builder = PlanBuilder()
    builder.output(builder.max_pool(builder.input((37, 11, 13), *levels), window))
    (y,) = builder.build(path=path).run([x], threads=2)
    expected = spec.max_pool(
        x.astype(np.int64), window.kernel, window.stride, window.dilation, window.pads
    )
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("levels", [BYTE, FULL])
@pytest.mark.parametrize("window", [Window((3, 3), (2, 2), (1, 0, 1, 1)), Window((11, 13))])
def test_sum_pool_equals_the_specification(
    window: Window, levels: tuple[int, int], path: str
) -> None:
    rng = np.random.default_rng(0)
    x = random_levels(rng, (3, 37, 11, 13), *levels)
    stage = ratio(1.3 / (window.kernel[0] * window.kernel[1]), 37, *levels)
    builder = PlanBuilder()
    value = builder.input((37, 11, 13), *levels)
    builder.output(builder.sum_pool(value, stage, window))
    builder.output(builder.sum_pool(value, Raw(), window))
    factors = rng.integers(1, 5, window.output_size(11, 13)).astype(np.int32)
    builder.output(builder.sum_pool(value, stage, window, factors=factors))
    y, raw, uneven = builder.build(path=path).run([x])
    acc = spec.window_sums(x.astype(np.int64), window.kernel, window.stride, window.pads)
    np.testing.assert_array_equal(raw, acc)
    np.testing.assert_array_equal(y, requantized(stage, acc))
    np.testing.assert_array_equal(uneven, requantized(stage, acc * factors))


def test_sums_that_their_factors_carry_beyond_int32_are_refused() -> None:
    builder = PlanBuilder()
    factors = np.full((2, 2), 2**24, np.int32)
    x = builder.input((1, 2, 2))
    builder.output(builder.sum_pool(x, Raw(), Window(), factors=factors))
    with pytest.raises(ValueError, match="exceed int32"):
        builder.build()


ADDS = [
    AddStage(16384, 9000, 15, 0, 255),
    AddStage(32768, 23171, 15, -128, 127),
    AddStage(7654321, 1234567, 23, -128, 127),
    AddStage(16777215, 16777213, 25, 0, 15),
    AddStage(-1500, 700, 9, -100, 50),
    AddStage(3, 5, 47, 0, 255),
    AddStage(1, 1, 1, 0, 255),
    AddStage(11, 13, 1, -128, 127),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stage", ADDS)
@pytest.mark.parametrize("signed", [(False, False), (True, False), (False, True), (True, True)])
def test_add_equals_the_specification_for_every_pair(
    stage: AddStage, signed: tuple[bool, bool], path: str
) -> None:
    ranges = [FULL if s else BYTE for s in signed]
    a, b = (np.arange(256).astype(np.uint8).view(np.int8 if s else np.uint8) for s in signed)
    pairs = np.broadcast_arrays(a[:, None], b[None, :])
    x, y = (np.ascontiguousarray(p).reshape(1, 1, 256, 256) for p in pairs)
    builder = PlanBuilder()
    values = [builder.input((1, 256, 256), *r) for r in ranges]
    builder.output(builder.add(values[0], values[1], stage))
    (z,) = builder.build(path=path).run([x, y], threads=2)
    expected = np.clip(
        (
            x.astype(np.int64) * stage.multiplier_a
            + y.astype(np.int64) * stage.multiplier_b
            + (1 << (stage.shift - 1))
        )
        >> stage.shift,
        stage.lo,
        stage.hi,
    )
    np.testing.assert_array_equal(z, expected)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize(
    ("channels", "kernel", "groups"),
    [(32, 1, 1), (24, 3, 1), (32, 3, 32), (19, 3, 1), (8, 5, 2), (40, 1, 2), (256, 3, 1)],
)
@pytest.mark.parametrize("bits", [8, 4])
def test_an_add_fused_into_a_convolution_equals_the_two(
    channels: int, kernel: int, groups: int, bits: int, order: str, path: str
) -> None:
    rng = np.random.default_rng(kernel)
    top = 2**bits - 1
    x = random_levels(rng, (2, channels, 9, 10), 0, top)
    largest = 2 ** (bits - 1) - 1
    w = random_weights(rng, (channels, channels // groups, kernel, kernel), -largest, largest)
    pad = kernel // 2
    window = Window((kernel, kernel), pads=(pad, pad, pad, pad))
    stage = ratio(90 / (top * largest * w[0].size ** 0.5), channels, -128, 127)
    add = AddStage(9000, 17000, 14, 0, 255, Table(tuple(255 - i for i in range(256))))
    builder = PlanBuilder()
    value = builder.input((channels, 9, 10), 0, top)
    y = builder.conv(value, w, stage, window, groups=groups)
    a, b = (y, value) if order == "first" else (value, y)
    builder.output(builder.add(a, b, add))
    plan = builder.build(path=path)
    (z,) = plan.run([x], threads=2)
    assert len(plan.proofs) == 1
    levels = x.astype(np.int64)
    conv = requantized(
        stage, spec.convolve(levels, w.astype(np.int64), (1, 1), (1, 1), window.pads, groups)
    )
    ab = (conv, levels) if order == "first" else (levels, conv)
    total = spec.add(ab[0], ab[1], 9000, 17000, 14, LevelType(Alphabet.UNSIGNED, 8))
    np.testing.assert_array_equal(z, 255 - total)


@pytest.mark.parametrize("path", PATHS)
def test_a_value_that_others_need_is_not_fused_away(path: str) -> None:
    rng = np.random.default_rng(1)
    x = random_levels(rng, (2, 16, 5, 5), *BYTE)
    w = random_weights(rng, (16, 16, 1, 1), *FULL)
    stage = ratio(1 / 4000, 16, 0, 255)
    builder = PlanBuilder()
    value = builder.input((16, 5, 5))
    y = builder.conv(value, w, stage)
    builder.output(builder.add(y, value, AddStage(8192, 8192, 14, 0, 255)))
    builder.output(y)
    z, kept = builder.build(path=path).run([x])
    conv = requantized(
        stage, spec.convolve(x.astype(np.int64), w.astype(np.int64), (1, 1), (1, 1), [0] * 4)
    )
    np.testing.assert_array_equal(kept, conv)
    np.testing.assert_array_equal(z, (conv + x + 1) >> 1)


@pytest.mark.parametrize("path", PATHS)
def test_copies_equal_numpy(path: str) -> None:
    rng = np.random.default_rng(2)
    x = random_levels(rng, (3, 6, 8, 10), *FULL)
    entries = tuple(int(v) for v in rng.integers(0, 256, 256))
    builder = PlanBuilder()
    value = builder.input((6, 8, 10), *FULL)
    sliced = builder.slice(value, (1, 7, 2), (4, 4, 3), (-2, 3))
    resized = builder.resize(value, (3, 2))
    mapped = builder.table(value, Table(entries))
    joined = builder.concat([value, mapped], [Table(entries), None])
    for v in (sliced, resized, mapped, joined):
        builder.output(v)
    got = builder.build(path=path).run([x], threads=2)
    looked_up = np.array(entries)[x.view(np.uint8)]
    np.testing.assert_array_equal(got[0], x[:, 1:5, 7::-2, 2:10:3])
    np.testing.assert_array_equal(got[1], x.repeat(3, axis=2).repeat(2, axis=3))
    np.testing.assert_array_equal(got[2], looked_up)
    np.testing.assert_array_equal(got[3], np.concatenate([looked_up, looked_up], axis=1))


@pytest.mark.parametrize("path", PATHS)
def test_a_table_follows_the_output_stage(path: str) -> None:
    rng = np.random.default_rng(3)
    x = random_levels(rng, (2, 5, 7, 7), *BYTE)
    w = random_weights(rng, (21, 5, 3, 3), *FULL)
    entries = tuple(int(v) for v in rng.integers(-128, 128, 256))
    plain = ratio(1 / 300, 21, -128, 127)
    stage = Requantize(
        plain.bias, plain.multiplier, plain.shift, plain.lo, plain.hi, Table(entries)
    )
    builder = PlanBuilder()
    builder.output(builder.conv(builder.input((5, 7, 7)), w, stage, Window((3, 3))))
    (y,) = builder.build(path=path).run([x])
    acc = spec.convolve(x.astype(np.int64), w.astype(np.int64), (1, 1), (1, 1), [0] * 4)
    np.testing.assert_array_equal(y, np.array(entries)[requantized(plain, acc).astype(np.uint8)])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", [(40, 1, 1), (6, 5, 4)])
def test_dense_flattens_channels_first(shape: tuple[int, int, int], path: str) -> None:
    rng = np.random.default_rng(4)
    x = random_levels(rng, (9, *shape), *BYTE)
    w = random_weights(rng, (13, x[0].size), *FULL)
    builder = PlanBuilder()
    builder.output(builder.dense(builder.input(shape), w, Raw()))
    (y,) = builder.build(path=path).run([x], threads=2)
    expected = spec.dense(x.reshape(9, -1).astype(np.int64), w.astype(np.int64))
    np.testing.assert_array_equal(y.reshape(9, 13), expected)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("lo", "hi"), [(-128, 127), (0, 255), (0, 15)])
@pytest.mark.parametrize("shape", [(3, 50, 70), (5, 3, 7), (1, 1, 1)])
def test_float_inputs_are_quantized_as_the_specification_does(
    shape: tuple[int, int, int], lo: int, hi: int, path: str
) -> None:
    scale = 0.037
    x = np.random.default_rng(8).normal(0, 60 * scale, (4, *shape)).astype(np.float32)
    x.flat[::3] = (np.rint(x.flat[::3] / scale) + 0.5) * scale
    x.flat[1::7] = [np.inf if i % 2 else -np.inf for i in range(len(x.flat[1::7]))]
    builder = PlanBuilder()
    builder.output(builder.quantized_input(shape, scale, lo, hi))
    (y,) = builder.build(path=path).run([x], threads=2)
    element = LevelType(
        Alphabet.SIGNED if lo < 0 else Alphabet.UNSIGNED, hi.bit_length() + (lo < 0)
    )
    np.testing.assert_array_equal(y, spec.quantize(x, scale, element))


@pytest.mark.parametrize("path", PATHS)
def test_counts_are_nonzero_levels_by_position_over_all_frames(path: str) -> None:
    rng = np.random.default_rng(5)
    x = random_levels(rng, (70, 33, 6, 5), 0, 2)
    builder = PlanBuilder()
    value = builder.input((33, 6, 5), 0, 2)
    pooled = builder.max_pool(value, Window((2, 1), (2, 1)))
    builder.count(value)
    builder.count(pooled)
    builder.count(value, 5, 17)
    builder.output(pooled)
    (y,), counts = builder.build(path=path).run_counted([x], threads=2)
    np.testing.assert_array_equal(counts[0], (x != 0).sum(axis=(0, 1)))
    np.testing.assert_array_equal(counts[1], (y != 0).sum(axis=(0, 1)))
    np.testing.assert_array_equal(counts[2], (x[:, 5:22] != 0).sum(axis=(0, 1)))


def small_network(rng: np.random.Generator) -> tuple[PlanBuilder, tuple[int, int, int]]:
    """Stem, residual block with a strided shortcut, depthwise, head: every fast algorithm."""
    builder = PlanBuilder()
    x = builder.conv(
        builder.input((3, 40, 36), *FULL),
        random_weights(rng, (32, 3, 3, 3), *FULL),
        ratio(1 / 700, 32, 0, 255),
        Window((3, 3), (2, 2), (1, 1, 1, 1)),
    )
    y = builder.conv(
        x,
        random_weights(rng, (32, 32, 3, 3), *FULL),
        Thresholds(np.sort(rng.integers(-90000, 90000, (32, 15)), axis=1)),
        Window((3, 3), pads=(1, 1, 1, 1)),
    )
    y = builder.conv(y, random_weights(rng, (32, 32, 1, 1), -8, 7), ratio(1 / 9, 32, -128, 127))
    x = builder.add(x, y, AddStage(12000, 14000, 14, 0, 255))
    x = builder.conv(
        x,
        random_weights(rng, (32, 1, 5, 5), *FULL),
        ratio(1 / 900, 32, 0, 255),
        Window((5, 5), (2, 2), (2, 2, 2, 2)),
        groups=32,
    )
    x = builder.sum_pool(x, ratio(1 / 90, 32, 0, 255))
    builder.output(builder.dense(x, random_weights(rng, (10, 32), *FULL), Raw()))
    return builder, (3, 40, 36)


def test_a_network_gives_the_same_on_every_path_batch_and_thread_count() -> None:
    builder, shape = small_network(np.random.default_rng(6))
    x = random_levels(np.random.default_rng(7), (11, *shape), *FULL)
    (expected,) = builder.build(path="generic").run([x])
    assert np.unique(expected).size > 100
    for path in PATHS:
        plan = builder.build(path=path)
        for threads in (1, 2, 3):
            np.testing.assert_array_equal(plan.run([x], threads=threads)[0], expected)
        singles = [plan.run([x[i : i + 1]], threads=2)[0] for i in range(11)]
        np.testing.assert_array_equal(np.concatenate(singles), expected)


def test_threads_that_share_a_plan_take_turns() -> None:
    builder, shape = small_network(np.random.default_rng(6))
    plan = builder.build()
    batches = [random_levels(np.random.default_rng(i), (5, *shape), *FULL) for i in range(8)]
    expected = [plan.run([x])[0] for x in batches]

    def run(index: int) -> None:
        np.testing.assert_array_equal(plan.run([batches[index]], threads=2)[0], expected[index])

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(run, [i % 8 for i in range(24)]))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux lists threads there")
def test_threads_keep_the_processors_that_they_may_use() -> None:
    builder, shape = small_network(np.random.default_rng(6))
    plan = builder.build()
    x = random_levels(np.random.default_rng(7), (2, *shape), *FULL)
    for _ in range(3):
        plan.run([x], threads=3)
        time.sleep(0.02)  # helpers go to sleep, and look where they are when they wake up
    threads = [int(entry.name) for entry in Path("/proc/self/task").iterdir()]
    assert len(threads) >= 3
    assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {
        frozenset(os.sched_getaffinity(0))
    }


def test_wrong_arrays_are_refused_with_what_was_expected() -> None:
    builder = PlanBuilder()
    builder.output(builder.input((3, 4, 4)))
    plan = builder.build()
    with pytest.raises(ValueError, match=r"expected 2 frames of uint8 \(3, 4, 4\)"):
        plan.run([np.zeros((2, 3, 4, 5), np.uint8)])
    with pytest.raises(ValueError, match="found int8"):
        plan.run([np.zeros((2, 3, 4, 4), np.int8)])
    with pytest.raises(ValueError, match="at least one frame"):
        plan.run([np.zeros((0, 3, 4, 4), np.uint8)])


def test_sums_beyond_int32_are_refused() -> None:
    builder = PlanBuilder()
    x = builder.input((1 << 17, 1, 1))
    builder.output(builder.dense(x, np.full((1, 1 << 17), 127, np.int8), Raw(), name="wide"))
    with pytest.raises(ValueError, match=f"wide: sums from 0 to {255 * 127 * 2**17} exceed int32"):
        builder.build()
