"""Convolutions equal the executable specification, whatever algorithm was chosen."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lowbitc.compiler.numerics import spec
from lowbitc.targets.native import Raw, Thresholds, Window
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

pytestmark = needs_extension


SHAPES = [
    # channels, outputs, height, width, window, groups
    (3, 16, 17, 19, Window((7, 7), (2, 2), (3, 3, 3, 3)), 1),
    (64, 64, 14, 14, Window((3, 3), pads=(1, 1, 1, 1)), 1),
    (16, 24, 9, 11, Window((3, 3), pads=(1, 0, 0, 2)), 1),
    (37, 21, 8, 7, Window((3, 3), pads=(1, 1, 1, 1)), 1),
    (32, 40, 7, 7, Window(), 1),
    (13, 5, 6, 10, Window((1, 1), (2, 2)), 1),
    (18, 21, 15, 13, Window((3, 3), (2, 2), (1, 1, 1, 1)), 1),
    (17, 32, 16, 12, Window((3, 3), (2, 2), (0, 0, 1, 1)), 1),
    (24, 7, 12, 9, Window((3, 5), (2, 1), (0, 1, 2, 3), (2, 3)), 1),
    (12, 18, 8, 8, Window((3, 3), (1, 1), (1, 1, 1, 1)), 3),
    (8, 16, 9, 9, Window((3, 3), (2, 2), (0, 0, 1, 1)), 8),
    (48, 48, 13, 9, Window((3, 3), (1, 1), (1, 1, 1, 1)), 48),
    (21, 21, 11, 12, Window((5, 5), (2, 2), (2, 1, 2, 2)), 21),
    (16, 16, 10, 15, Window((3, 3), (1, 1), (2, 2, 2, 2), (2, 2)), 16),
    (20, 33, 1, 50, Window((1, 9), (1, 2), (0, 4, 0, 4)), 1),
    (1, 1, 1, 1, Window(), 1),
    (2, 1, 5, 5, Window((5, 5), pads=(4, 4, 4, 4)), 1),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("levels", [BYTE, FULL, (0, 15), (-8, 7), (0, 1)])
@pytest.mark.parametrize("weight_range", [FULL, (-8, 7), (-1, 1)])
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_equal_the_specification(
    shape: tuple[int, int, int, int, Window, int],
    weight_range: tuple[int, int],
    levels: tuple[int, int],
    path: str,
) -> None:
    channels, outputs, height, width, window, groups = shape
    rng = np.random.default_rng(channels * 1000 + outputs)
    x = random_levels(rng, (3, channels, height, width), *levels)
    w = random_weights(rng, (outputs, channels // groups, *window.kernel), *weight_range).astype(
        np.int8
    )
    y, reason = run_conv(x, w, Raw(), window, levels=levels, groups=groups, path=path)
    np.testing.assert_array_equal(y, sums(x, w, window, groups), reason)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("weight", "level"), list(itertools.product((-128, 127), (-128, 127, 255)))
)
def test_extreme_weights_and_levels_do_not_saturate(
    shape: tuple[int, int, int, int, Window, int], weight: int, level: int, batch: int, path: str
) -> None:
    channels, outputs, height, width, window, groups = shape
    levels = BYTE if level == 255 else FULL
    ones = np.ones((1, channels, height, width))
    x = (ones * level).astype(np.uint8) if level == 255 else (ones * level).astype(np.int8)
    w = np.full((outputs, channels // groups, *window.kernel), weight, np.int8)
    y, reason = run_conv(x, w, Raw(), window, levels=levels, groups=groups, path=path, batch=batch)
    np.testing.assert_array_equal(y, sums(x, w, window, groups), reason)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("threads", [2, 3])
def test_every_thread_count_gives_the_same_levels(path: str, threads: int) -> None:
    rng = np.random.default_rng(5)
    x = random_levels(rng, (5, 32, 21, 18), *BYTE)
    w = random_weights(rng, (48, 32, 3, 3), *FULL)
    window = Window((3, 3), pads=(1, 1, 1, 1))
    y, _ = run_conv(x, w, Raw(), window, levels=BYTE, path=path, threads=threads)
    np.testing.assert_array_equal(y, sums(x, w, window))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("channels", range(1, 15))
def test_short_sums_over_few_pixels_equal_the_specification(channels: int, path: str) -> None:
    """Steps are taken three at a time and rows four at a time; what is left over counts too."""
    rng = np.random.default_rng(channels)
    w = random_weights(rng, (40, channels, 1, 1), *FULL)
    for pixels in range(1, 10):
        x = random_levels(rng, (1, channels, 1, pixels), *BYTE)
        acc = sums(x, w, Window())
        stage = requantize(rng, acc, *BYTE)
        y, _ = run_conv(x, w, stage, Window(), levels=BYTE, path=path)
        np.testing.assert_array_equal(y, requantized(stage, acc))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_layers_of_many_channels_are_shared_out_without_a_gap(
    frames: int, threads: int, path: str
) -> None:
    """Six panels of outputs, the last one narrow, in groups of four, over 1 to 81 patches."""
    rng = np.random.default_rng(threads)
    x = random_levels(rng, (frames, 260, 9, 10), *BYTE)
    w = random_weights(rng, (84, 260, 3, 3), -40, 40)
    window = Window((3, 3), pads=(1, 1, 1, 1))
    acc = sums(x, w, window)
    stage = requantize(rng, acc, *BYTE)
    y, reason = run_conv(x, w, stage, window, levels=BYTE, path=path, threads=threads)
    np.testing.assert_array_equal(y, requantized(stage, acc), reason)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize("frames", [1, 3, 40])
def test_rows_are_shared_out_without_a_gap(frames: int, threads: int, path: str) -> None:
    rng = np.random.default_rng(frames)
    x = random_levels(rng, (frames, 300, 7, 7), *BYTE)
    w = random_weights(rng, (72, 300, 1, 1), *FULL)
    acc = sums(x, w, Window())
    stage = requantize(rng, acc, *FULL)
    y, _ = run_conv(x, w, stage, Window(), levels=BYTE, path=path, threads=threads)
    np.testing.assert_array_equal(y, requantized(stage, acc))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("out", [BYTE, FULL, (3, 200), (-100, 5)])
@pytest.mark.parametrize("shape", SHAPES)
def test_requantized_levels_equal_the_specification(
    shape: tuple[int, int, int, int, Window, int], out: tuple[int, int], path: str
) -> None:
    channels, outputs, height, width, window, groups = shape
    rng = np.random.default_rng(outputs)
    x = random_levels(rng, (2, channels, height, width), *BYTE)
    w = random_weights(rng, (outputs, channels // groups, *window.kernel), *FULL)
    acc = sums(x, w, window, groups)
    stage = requantize(rng, acc, *out)
    y, _ = run_conv(x, w, stage, window, levels=BYTE, groups=groups, path=path)
    np.testing.assert_array_equal(y, requantized(stage, acc))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("lo", "n"), [(0, 1), (0, 3), (-8, 15), (0, 15), (-128, 255)])
@pytest.mark.parametrize("kind", ["even", "random", "unreachable", "equal"])
def test_threshold_levels_equal_the_specification(lo: int, n: int, kind: str, path: str) -> None:
    rng = np.random.default_rng(n)
    x = random_levels(rng, (2, 20, 9, 9), 0, 15)
    w = random_weights(rng, (19, 20, 3, 3), -8, 7)
    window = Window((3, 3), pads=(1, 1, 1, 1))
    acc = sums(x, w, window)
    least, most = int(acc.min()), int(acc.max())
    if kind == "even":
        start, step = rng.uniform(least, most, 19), rng.uniform(1, (most - least) / n, 19)
        rows = np.ceil(start[:, None] + step[:, None] * np.arange(n))
    elif kind == "random":
        rows = rng.integers(least, most, (19, n))
    elif kind == "unreachable":
        rows = np.where(rng.random((19, n)) < 0.5, -(2**31), 2**31 - 1)
    else:
        rows = np.repeat(rng.integers(least, most, (19, 1)), n, axis=1)
    values = np.sort(rows.astype(np.int64), axis=1)
    y, reason = run_conv(x, w, Thresholds(values, lo), window, levels=(0, 15), path=path)
    np.testing.assert_array_equal(
        y, spec.count_thresholds(acc, values.astype(np.int32), lo), reason
    )
