"""Integer weights are found behind their scale, and float weights are not."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.elements import I2, I4, I8, ODD1, ODD2, LevelType
from lowbitc.compiler.statistics.recover_levels import recover_levels


@pytest.mark.parametrize("element", [I8, I4, I2, ODD2, ODD1])
def test_levels_come_back_in_their_own_alphabet(element: LevelType) -> None:
    random = np.random.default_rng(element.bits)
    levels = random.choice(element.levels(), (20, 48))
    levels[:, 0], levels[:, 1] = element.minimum, element.maximum
    scales = random.uniform(1e-4, 3, 20).astype(np.float32)
    rows = (levels * scales[:, None]).astype(np.float32).astype(np.float64)
    found = recover_levels(rows)
    assert found is not None
    assert found.levels_type == element
    np.testing.assert_array_equal(found.levels, levels)
    np.testing.assert_array_equal(found.scales.astype(np.float32), scales)


def test_a_scale_that_batch_norm_changed_is_found_too() -> None:
    random = np.random.default_rng(1)
    levels = random.integers(-127, 128, (8, 27))
    levels[:, 3] = 127
    folded = levels * np.float32(0.01) * random.uniform(-2, 2, (8, 1))
    found = recover_levels(folded.astype(np.float32).astype(np.float64))
    assert found is not None
    np.testing.assert_array_equal(np.abs(found.levels), np.abs(levels))


def test_float_weights_lie_on_no_grid() -> None:
    rows = np.random.default_rng(2).normal(size=(4, 9)).astype(np.float32).astype(np.float64)
    assert recover_levels(rows) is None


def test_more_than_8_bits_are_none_of_the_chips() -> None:
    assert recover_levels(np.asarray([[255.0, 254.0, 1.0]])) is None


def test_rows_of_zeros_have_levels() -> None:
    found = recover_levels(np.asarray([[0.0, 0.0], [0.5, -0.5]]))
    assert found is not None
    assert found.levels.tolist() == [[0, 0], [1, -1]]
    assert found.scales[0] == 1
