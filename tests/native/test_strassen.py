"""Products of halves: seven for eight, and the same sums."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lowbitc.targets.native import Table, Window
from lowbitc.targets.native.builder import PlanBuilder
from tests.native.cases import (
    BYTE,
    FULL,
    PATHS,
    needs_extension,
    random_levels,
    random_weights,
    requantize,
    requantized,
    run_conv,
    sums,
)

pytestmark = [
    needs_extension,
    pytest.mark.skipif("avx2" not in PATHS, reason="only AVX2 has these kernels"),
]

POINT = Window()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("levels", [BYTE, FULL])
@pytest.mark.parametrize("outputs", [32, 40, 63, 96])
@pytest.mark.parametrize("channels", [64, 68, 84, 100, 260])
def test_levels_equal_the_specification(
    channels: int, outputs: int, levels: tuple[int, int], threads: int
) -> None:
    """Rows are no whole number of tiles, panels may be single or narrow, halves end anywhere."""
    rng = np.random.default_rng(channels + outputs)
    x = random_levels(rng, (5, channels, 9, 7), *levels)
    w = random_weights(rng, (outputs, channels, 1, 1), *FULL)
    acc = sums(x, w, POINT)
    stage = requantize(rng, acc, *levels)
    y, reason = run_conv(x, w, stage, POINT, levels=levels, path="avx2", threads=threads)
    assert reason.startswith("strassen")
    np.testing.assert_array_equal(y, requantized(stage, acc))


@pytest.mark.parametrize("levels", [BYTE, FULL])
@pytest.mark.parametrize("signs", [(1, 1, 1, 1), (1, -1, -1, 1), (-1, 1, 1, -1), (1, -1, 1, -1)])
@pytest.mark.parametrize("rows", [(1, 1, 0, 0), (0, 0, 1, 1), (1, 0, 0, 1), (0, 1, 1, 1)])
def test_sums_of_the_largest_levels_and_weights_do_not_overflow(
    rows: tuple[int, ...], signs: tuple[int, ...], levels: tuple[int, int]
) -> None:
    """Quarters of rows and weights are as far apart as they can be."""
    lo, hi = levels
    quarters = np.array([hi if row else lo for row in rows]).reshape(2, 2)
    by_pixel = quarters.repeat(4, axis=0).repeat(128, axis=1)
    x = np.tile(by_pixel, (40, 1)).T.reshape(1, 256, 1, 320)
    halves = np.array([127 if sign > 0 else -128 for sign in signs]).reshape(2, 2)
    w = halves.repeat(128, axis=0).repeat(16, axis=1).T.reshape(32, 256, 1, 1).astype(np.int8)
    acc = sums(x, w, POINT)
    stage = requantize(np.random.default_rng(0), acc, *FULL)
    held = x.astype(np.int8) if lo < 0 else x.astype(np.uint8)
    y, reason = run_conv(held, w, stage, POINT, levels=levels, path="avx2", batch=1)
    assert reason.startswith("strassen")
    np.testing.assert_array_equal(y, requantized(stage, acc))


def test_larger_kernels_and_tables_are_no_different() -> None:
    rng = np.random.default_rng(3)
    window = Window((3, 3), (2, 2), (1, 1, 1, 1))
    x = random_levels(rng, (40, 36, 5, 5), *BYTE)
    w = random_weights(rng, (64, 36, 3, 3), *FULL)
    acc = sums(x, w, window)
    table = Table(tuple(rng.integers(0, 256, 256).tolist()))
    stage = dataclasses.replace(requantize(rng, acc, *BYTE), table=table)
    y, reason = run_conv(x, w, stage, window, levels=BYTE, path="avx2", batch=40)
    assert reason.startswith("strassen")
    np.testing.assert_array_equal(y, np.array(table.levels)[requantized(stage, acc)])


def test_a_plan_gives_the_same_levels_for_many_frames_and_for_few() -> None:
    """Few frames run as plain products of the same weights."""
    rng = np.random.default_rng(4)
    x = random_levels(rng, (9, 128, 7, 9), *BYTE)
    w = random_weights(rng, (80, 128, 1, 1), *FULL)
    acc = sums(x, w, POINT)
    stage = requantize(rng, acc, *BYTE)
    builder = PlanBuilder()
    builder.output(builder.conv(builder.input((128, 7, 9)), w, stage))
    plan = builder.build(path="avx2")
    assert plan.proofs[0].reason.startswith("strassen")
    for frames in range(1, 10):
        np.testing.assert_array_equal(plan.run([x[:frames]])[0], requantized(stage, acc)[:frames])
