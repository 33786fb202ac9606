"""The extension rounds a block of columns to what its definition gives, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lowbitc.compiler.elements import I2, I4, ODD1, ODD2
from lowbitc.compiler.statistics import round_block
from lowbitc.compiler.statistics.linear_systems import factor_upper, with_ridge
from lowbitc.compiler.statistics.round_levels import descend, feed_back

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64, LevelType

TYPES = (ODD1, I2, ODD2, I4)
SHAPES = ((1, 5, 96), (3, 1, 9), (2, 16, 70), (1, 33, 64))

built = pytest.mark.skipif(not round_block.available(), reason="the extension was not built")


def system(groups: int, inputs: int) -> Float64:
    """Return second moments of correlated inputs."""
    random = np.random.default_rng(inputs)
    x = random.normal(size=(groups, 3 * inputs, inputs)) + random.normal(size=(groups, 1, inputs))
    raw = np.swapaxes(x, 1, 2) @ x / (3 * inputs)
    return with_ridge(raw, 3 * inputs, np.ones(groups))


@built
@pytest.mark.parametrize("levels_type", TYPES, ids=str)
@pytest.mark.parametrize(("groups", "rows", "inputs"), SHAPES)
@pytest.mark.parametrize("whole", [True, False], ids=["all columns", "a block in the middle"])
def test_feeding_back_gives_the_definitions_numbers(
    levels_type: LevelType, groups: int, rows: int, inputs: int, *, whole: bool
) -> None:
    random, factor = np.random.default_rng(1), factor_upper(system(groups, inputs))
    block = slice(0, inputs) if whole else slice(3, inputs - 2)
    columns = random.normal(size=(groups, inputs, rows))
    scales = random.uniform(0.2, 0.9, (groups, rows))
    carried = random.normal(size=(groups, block.stop - block.start, rows))
    found: list[tuple[Float64, ...]] = []
    for run in (round_block.define_feed_back, round_block.feed_back):
        levels, errors, owed = np.zeros_like(columns), np.zeros_like(columns), carried.copy()
        run((columns, factor, scales, owed, levels, errors), block, levels_type)
        found.append((levels, errors, owed))
    assert len(np.unique(found[0][0][:, block])) > 1
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


@built
@pytest.mark.parametrize("levels_type", TYPES, ids=str)
@pytest.mark.parametrize(("groups", "rows", "inputs"), SHAPES)
@pytest.mark.parametrize("whole", [True, False], ids=["all columns", "a block in the middle"])
def test_descent_gives_the_definitions_numbers(
    levels_type: LevelType, groups: int, rows: int, inputs: int, *, whole: bool
) -> None:
    random, second = np.random.default_rng(2), system(groups, inputs)
    block = slice(0, inputs) if whole else slice(3, inputs - 2)
    chosen = random.choice(levels_type.levels(), (groups, inputs, rows)).astype(np.float64)
    scales = random.uniform(0.2, 0.9, (groups, rows))
    slope = second @ random.normal(size=(groups, inputs, rows))
    found: list[tuple[Float64 | bool, ...]] = []
    for run in (round_block.define_descend, round_block.descend):
        levels, sums = chosen.copy(), slope.copy()
        changes = np.zeros((groups, block.stop - block.start, rows))
        moved = run((second, scales, sums, levels, changes), block, levels_type)
        found.append((levels, sums, changes, moved))
    assert found[0][3] is True
    for first, second_run in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second_run)


@built
def test_descent_says_where_nothing_moved() -> None:
    weights, second = np.zeros((1, 9, 4)), system(1, 9)
    arrays = (second, np.ones((1, 4)), weights.copy(), weights.copy(), weights.copy())
    assert round_block.descend(arrays, slice(0, 9), I2) is False
    assert round_block.define_descend(arrays, slice(0, 9), I2) is False


@built
@pytest.mark.parametrize("levels_type", TYPES, ids=str)
def test_whole_layers_round_the_same_without_the_extension(
    monkeypatch: pytest.MonkeyPatch, levels_type: LevelType
) -> None:
    weights, second = np.random.default_rng(3).normal(size=(2, 6, 150)), system(2, 150)
    scales, factor = np.full((2, 6), 0.7), factor_upper(second)
    found: list[tuple[Float64, Float64]] = []
    for there in (True, False):
        monkeypatch.setattr(round_block, "available", lambda there=there: there)
        levels = feed_back(weights, scales, factor, levels_type)
        found.append((levels, descend(weights, levels, scales, second, levels_type, 2)))
    assert not np.array_equal(*found[0])
    for first, other in zip(*found, strict=True):
        np.testing.assert_array_equal(first, other)


@built
@pytest.mark.parametrize(
    "change", ["short system", "float32 scales", "block beyond the end", "backward block"]
)
def test_arrays_that_do_not_fit_are_refused(change: str) -> None:
    from lowbitc.compiler.statistics import _rounding  # noqa: PLC0415 - optional

    second: Float64 = system(1, 9)
    scales: Any = np.ones((1, 4))
    columns, changes = np.zeros((1, 9, 4)), np.zeros((1, 9, 4))
    first, last = 0, 9
    if change == "short system":
        second = second[:, :8].copy()
    elif change == "float32 scales":
        scales = scales.astype(np.float32)
    elif change == "block beyond the end":
        last, changes = 10, np.zeros((1, 10, 4))
    else:
        first, last = 5, 3
    arrays = (second, scales, columns, columns.copy(), changes)
    with pytest.raises(ValueError, match="columns"):
        _rounding.descend(arrays, first, last, False, -2.0, 1.0)  # noqa: FBT003 - as C takes it
