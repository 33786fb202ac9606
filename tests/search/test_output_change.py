"""Outputs are compared by what they mean: scores by answers, values by error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.ir import ops
from lowbitc.compiler.statistics.output_change import Change, OutputKind, compare
from lowbitc.passes.name_outputs import output_kind
from tests.quantization.networks import Builder

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array

SCORES = OutputKind(-1, normalised=True)


def test_a_change_between_near_ties_costs_little_and_a_sure_answer_all_of_it() -> None:
    wanted = np.array([[0.51, 0.49], [0.98, 0.02]])
    tie = compare(SCORES, wanted, np.array([[0.4, 0.6], [0.9, 0.1]]), 2)
    sure = compare(SCORES, wanted, np.array([[0.6, 0.4], [0.1, 0.9]]), 2)
    assert tie.drop == pytest.approx(0.02 / 2)
    assert sure.drop == pytest.approx(0.96 / 2)
    assert (tie.agreeing, sure.agreeing) == (1, 1)


def test_logits_are_softened_and_equal_ones_lose_nothing() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 7))
    shifted = compare(OutputKind(-1), logits, logits + 3, 5)
    assert shifted.divergence == pytest.approx(0, abs=1e-12)
    assert shifted.drop == 0
    assert compare(OutputKind(-1), logits, -logits, 5).divergence > 0.1


def test_a_sample_of_several_positions_loses_as_much_as_its_worst_one() -> None:
    wanted = np.array([[[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]]])
    found = np.array([[[0.9, 0.1], [0.7, 0.3], [0.8, 0.2], [0.6, 0.4]]])
    changed = compare(SCORES, wanted, found, 1)
    assert changed.drop == pytest.approx(0.6)
    assert changed.agreeing == 0


def test_a_text_that_changes_is_lost_whole_however_unsure_it_was() -> None:
    wanted = np.array([[[0.9, 0.1], [0.55, 0.45], [0.8, 0.2]]] * 2)
    found = wanted.copy()
    found[0, 1] = 0.45, 0.55
    changed = compare(SCORES, wanted, found, 2)
    assert changed.drop == pytest.approx(1 / 2)
    assert changed.agreeing == 1


def _spelled(*texts: str) -> Array:
    """Return sure scores [n, positions, 3] for the classes _, a and b."""
    return np.stack([np.eye(3)["_ab".index(c)] for text in texts for c in text]).reshape(
        len(texts), -1, 3
    )


def test_a_text_that_stays_loses_nothing_where_it_is_cut_elsewhere() -> None:
    wanted, moved, other = _spelled("__aa_b__"), _spelled("_aa__bb_"), _spelled("__a_ab__")
    assert compare(SCORES, wanted, moved, 1).drop == 0
    assert compare(SCORES, wanted, moved, 1).agreeing == 1
    assert compare(SCORES, wanted, other, 1).drop == pytest.approx(1)
    assert compare(SCORES, _spelled("abab"), _spelled("aabb"), 1).drop == pytest.approx(1)


def test_classes_may_stand_on_another_axis() -> None:
    wanted = np.array([[[0.9, 0.2], [0.1, 0.8]]])
    assert compare(OutputKind(-2, normalised=True), wanted, wanted[:, ::-1], 1).drop > 0.5


def test_values_are_compared_by_their_relative_error() -> None:
    wanted = np.array([[1.0], [3.0]])
    assert compare(OutputKind(), wanted, wanted + 0.5, 2).drop == pytest.approx(0.5 / 2)


def test_a_drop_has_the_standard_error_of_its_samples() -> None:
    wanted = np.array([[0.9, 0.1], [0.7, 0.3], [0.8, 0.2], [0.6, 0.4]])
    found = wanted.copy()
    found[[0, 3]] = found[[0, 3], ::-1]
    losses = np.array([0.8, 0, 0, 0.2])
    changed = compare(SCORES, wanted, found, 4)
    assert changed.drop == pytest.approx(losses.mean())
    assert changed.drop_margin == pytest.approx(losses.std() / 2)
    assert compare(SCORES, wanted, wanted, 4).drop_margin == 0


def test_batches_add_up() -> None:
    rng = np.random.default_rng(1)
    wanted, found = rng.normal(size=(2, 6, 4))
    whole = compare(OutputKind(-1), wanted, found, 6)
    parts = sum(
        (compare(OutputKind(-1), wanted[s], found[s], 3) for s in (slice(3), slice(3, 6))),
        Change(),
    )
    assert parts.drop == pytest.approx(whole.drop)
    assert parts.drop_margin == pytest.approx(whole.drop_margin)
    assert parts.divergence == pytest.approx(whole.divergence)


def test_outputs_of_a_dense_layer_are_scores_and_those_of_an_autoencoder_are_values() -> None:
    net = Builder((1, 3, 8, 8))
    scores = net.dense(net.flat(net.mean(net.relu(net.conv("x", 8)))), 10)
    graph = net.graph(scores)
    assert output_kind(graph, scores) == OutputKind(-1)
    mirror = Builder((1, 16))
    copied = mirror.dense(mirror.relu(mirror.dense("x", 4)), 16)
    assert output_kind(mirror.graph(copied), copied) == OutputKind()


def test_a_softmax_says_where_the_classes_are() -> None:
    net = Builder((1, 3, 8, 8))
    made = net.conv("x", 4)
    found = net.put(ops.Softmax(**net.base("Softmax", made), axis=1), (1, 4, 8, 8))
    assert output_kind(net.graph(found), found) == OutputKind(-3, normalised=True)


def test_single_numbers_are_values() -> None:
    net = Builder((1, 3))
    assert output_kind(net.graph(net.dense("x", 1)), "Dense0_out") == OutputKind()
