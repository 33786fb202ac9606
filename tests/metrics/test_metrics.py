"""Each metric gives the figure of its definition, whatever the split, and refuses the rest."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.metrics.naming import METRICS, parse_metric, parse_metrics
from lowbitc.compiler.metrics.sequences import CharacterErrors, ExactMatch, Reading, edits
from tests.metrics.scoring import in_parts, measure, measured, softened

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.metrics.metric import Metric


def _refused(metric: str, outputs: Array, labels: Array | None, code: str) -> str:
    with pytest.raises(CompileError) as refused:
        measure(metric, outputs, labels)
    (finding,) = refused.value.diagnostics
    assert finding.code == code
    return f"{finding.found} / {finding.allowed}"


# --- classes ---------------------------------------------------------------------------------


def test_top1_counts_labels_scored_first_and_ties_go_to_the_lower_class() -> None:
    scores = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 3], [0.0, 5, 1]])
    assert measure("top1", scores, np.array([0, 1, 2, 1])) == 0.75


def test_top5_counts_labels_among_the_first_five() -> None:
    scores = np.tile(np.arange(10.0)[::-1], (2, 1))
    assert measure("top5", scores, np.array([4, 5])) == 0.5


def test_scores_of_any_trailing_ones_are_one_row() -> None:
    scores = np.eye(3)[:, :, None, None]
    assert measure("top1", scores, np.arange(3)[:, None]) == 1


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1, 3]),
        np.array([0, 1, -1]),
        np.array([0.0, 1.5, 2]),
        np.array(["a", "b", "c"]),
        np.zeros((3, 2), int),
        np.array([0, 1]),
        np.array([0.0, 1.0, np.nan]),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: Array) -> None:
    _refused("top1", np.eye(3), labels, "LB733")


@pytest.mark.parametrize("metric", ["top1", "f1-macro"])
def test_scores_of_steps_are_not_flattened_into_classes(metric: str) -> None:
    _refused(metric, np.zeros((2, 4, 5)), np.array([0, 1]), "LB733")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", ["top1", "top5", "f1-macro", "cer", "ap50", "exact"])
def test_outputs_that_are_not_finite_are_never_measured(metric: str, bad: float) -> None:
    outputs = np.ones((2, 6, 6))
    outputs[1, 2, 3] = bad
    flat = outputs.reshape(2, 36) if metric in {"top1", "top5", "f1-macro"} else outputs
    boxes = np.zeros((2, 1, 5)) if metric == "ap50" else np.zeros((2, 1), int)
    assert "sample 1" in _refused(metric, flat, boxes, "LB734")


def test_without_labels_there_is_no_accuracy() -> None:
    _refused("top1", np.eye(3), None, "LB735")


def test_f1_of_class_one_is_the_harmonic_mean_of_precision_and_recall() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    labels = np.array([1, 0, 1, 1, 0])
    assert measure("f1", scores, labels) == pytest.approx(2 / 3)
    assert measure("f1,threshold=0.75", scores, labels) == pytest.approx(0.4)


def test_f1_macro_is_the_mean_over_classes_that_occur() -> None:
    scores = np.eye(4)[[0, 0, 1, 1]]
    labels = np.array([0, 1, 1, 2])
    assert measure("f1-macro", scores, labels) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_f1_without_a_sample_of_class_one_has_no_value() -> None:
    _refused("f1", np.array([0.9, 0.1]), np.array([0, 0]), "LB736")
    _refused("f1", np.eye(3), np.array([0, 1, 1]), "LB736")


# --- against float ---------------------------------------------------------------------------


def test_agreement_counts_equal_classes() -> None:
    theirs = np.eye(4)
    mine = np.eye(4)[[0, 1, 2, 2]]
    assert measure("agreement", mine, None, theirs) == 0.75


def test_agreement_with_a_constant_network_means_nothing() -> None:
    constant = np.tile([0.0, 1.0], (5, 1))
    with pytest.raises(CompileError, match="LB736"):
        measure("agreement", constant, None, constant)


def test_agreement_needs_the_float_network() -> None:
    _refused("agreement", np.eye(3), None, "LB735")


def test_squared_error_and_decibels_are_ratios_of_sums() -> None:
    theirs = np.array([[3.0, 4.0], [0.0, 0.0]])
    mine = np.array([[3.0, 4.5], [0.0, 0.5]])
    assert measure("mse", mine, None, theirs) == pytest.approx(0.125)
    assert measure("sqnr", mine, None, theirs) == pytest.approx(10 * math.log10(25 / 0.5))
    assert measure("sqnr", theirs, None, theirs) == math.inf


def test_decibels_of_silence_have_no_value() -> None:
    with pytest.raises(CompileError, match="LB736"):
        measure("sqnr", np.ones((2, 2)), None, np.zeros((2, 2)))


# --- one score -------------------------------------------------------------------------------


def test_auc_is_the_share_of_pairs_in_order() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8, 0.4])
    labels = np.array([0, 0, 1, 1, 1])
    # Pairs of a one above a zero: .35>.1, .8>.1, .8>.4, .4>.1, and .4 with .4 counts half.
    assert measure("auc", scores, labels) == pytest.approx(4.5 / 6)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1)), min_size=2, max_size=40))
def test_auc_is_what_counting_all_pairs_gives(samples: list[tuple[int, int]]) -> None:
    ones = [s for s, label in samples if label]
    zeros = [s for s, label in samples if not label]
    scores, labels = np.array([s for s, _ in samples], float), np.array([y for _, y in samples])
    if not ones or not zeros:
        _refused("auc", scores, labels, "LB736")
        return
    won = sum((a > b) + (a == b) / 2 for a in ones for b in zeros)
    assert measure("auc", scores, labels) == won / (len(ones) * len(zeros))


# --- sequences -------------------------------------------------------------------------------


def _lines(*lines: str, classes: int = 4) -> Array:
    """Return scores whose best class at each step is a digit of the line."""
    return np.stack([np.eye(classes)[[int(c) for c in line]] for line in lines])


def test_ctc_merges_repeats_and_drops_the_blank(tmp_path: Path) -> None:
    (tmp_path / "chars.json").write_text(json.dumps("abc"), encoding="utf-8")
    scores = _lines("1102", "1010", "0000")
    option = f",charset={tmp_path / 'chars.json'}"
    assert measure("exact" + option, scores, np.array(["ab", "aa", "c"])) == pytest.approx(2 / 3)
    assert measure("cer" + option, scores, np.array(["ab", "aa", "c"])) == pytest.approx(1 / 5)


def test_labels_of_ctc_may_be_class_numbers_padded() -> None:
    scores = _lines("1102", "3333")
    assert measure("exact", scores, np.array([[1, 2], [3, -1]])) == 1
    assert measure("cer,blank=3", scores, np.array([[1, 0, 2], [1, 1, 1]])) == 0.5


def test_a_batch_in_the_middle_is_no_dimension_of_its_own() -> None:
    assert measure("exact", _lines("12", "31")[:, :, None, :], np.array([[1, 2], [3, 1]])) == 1


def test_texts_without_a_charset_are_refused(tmp_path: Path) -> None:
    _refused("cer", _lines("12"), np.array(["ab"]), "LB733")
    (tmp_path / "chars.txt").write_text("ab\n", encoding="utf-8")
    spelled = f"cer,charset={tmp_path / 'chars.txt'}"
    assert "3 characters" in _refused(spelled, _lines("12"), np.array(["ab"]), "LB736")


def test_every_label_empty_has_no_error_rate() -> None:
    _refused("cer", _lines("12"), np.array([[-1, -1]]), "LB736")


@pytest.mark.parametrize(
    ("read", "wanted", "number"),
    [("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("a", "a", 0)],
)
def test_edits_are_levenshteins(read: str, wanted: str, number: int) -> None:
    assert edits(tuple(read), tuple(wanted)) == number


# --- boxes -----------------------------------------------------------------------------------

_BOX = [0.0, 0.0, 10.0, 10.0]
_FAR = [50.0, 50.0, 60.0, 60.0]


def _found(*detections: tuple[list[float], float, int]) -> Array:
    return np.array([[[*box, score, label] for box, score, label in detections]])


def test_ap50_of_all_boxes_found_is_one() -> None:
    found = _found((_BOX, 0.9, 0), (_FAR, 0.8, 0), (_FAR, 0.0, 0))
    assert measure("ap50", found, np.array([[[*_BOX, 0], [*_FAR, 0], [0, 0, 0, 0, -1]]])) == 1


def test_ap50_takes_boxes_without_classes() -> None:
    labels = np.array([[_BOX, [np.nan] * 4]])
    assert measure("ap50", _found((_BOX, 0.9, 0)), labels) == 1


def test_a_box_is_found_once() -> None:
    found = _found((_BOX, 0.9, 0), (_BOX, 0.8, 0), (_FAR, 0.7, 0))
    labels = np.array([[[*_BOX, 0], [*_FAR, 0]]])
    # Precision 1 at recall 1/2, then 2/3 at recall 1.
    assert measure("ap50", found, labels) == pytest.approx((1 + 2 / 3) / 2)


def test_a_box_needs_half_the_overlap_and_its_class() -> None:
    labels = np.array([[[*_BOX, 1]]])
    half = [0.0, 0.0, 10.0, 20.0]
    assert measure("ap50", _found((half, 0.9, 1)), labels) == 1
    assert measure("ap50", _found(([0.0, 0.0, 10.0, 20.1], 0.9, 1)), labels) == 0
    assert measure("ap50", _found((_BOX, 0.9, 0)), labels) == 0


def test_boxes_without_order_and_data_without_boxes_are_refused() -> None:
    _refused("ap50", _found((_BOX, 1, 0)), np.array([[[10.0, 0, 0, 10, 0]]]), "LB733")
    _refused("ap50", _found((_BOX, 1, 0)), np.array([[[0.0, 0, 0, 0, -1]]]), "LB736")
    assert "decode" not in _refused("ap50", np.zeros((1, 7)), np.zeros((1, 1, 5)), "LB736")


# --- functions of the user's -----------------------------------------------------------------


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_metrics.py").write_text(
        "import numpy as np\n"
        "def first(outputs, labels):\n    return outputs['out'][:, 0]\n"
        "def worse(outputs, labels):\n    return outputs['out'][:, 0]\n"
        "worse.lower_is_better = True\n"
        "def short(outputs, labels):\n    return [1.0]\n"
        "def nan(outputs, labels):\n    return outputs['out'][:, 0] * np.nan\n"
        "def fails(outputs, labels):\n    raise KeyError('x')\n"
        "def boxes(outputs):\n    return [row.reshape(-1, 6) for row in outputs['out']]\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_metrics", raising=False)


@pytest.mark.usefixtures("mine")
def test_a_function_gives_one_number_a_sample() -> None:
    outputs = np.array([[1.0, 0], [2, 0], [6, 0]])
    assert measure("my_metrics:first", outputs, None) == 3
    assert parse_metric("my_metrics:first").traits.higher_is_better
    assert not parse_metric("my_metrics:worse").traits.higher_is_better


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("name", ["short", "nan", "fails", "missing"])
def test_a_function_that_gives_something_else_is_refused(name: str) -> None:
    _refused(f"my_metrics:{name}", np.ones((3, 2)), None, "LB739")


@pytest.mark.usefixtures("mine")
def test_a_decoder_makes_boxes_of_outputs() -> None:
    flat = np.array([[*_BOX, 0.9, 0, *_FAR, 0.8, 0]])
    labels = np.array([[[*_BOX, 0], [*_FAR, 0]]])
    assert measure("ap50,decode=my_metrics:boxes", flat, labels) == 1


# --- spelling --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_called_what_it_is_spelled(name: str) -> None:
    assert parse_metric(name).name == name


@pytest.mark.parametrize(
    "spelled",
    [
        "top3",
        "",
        "top1,blank=0",
        "cer,blank",
        "cer,blank=x",
        "f1,threshold=a",
        "cer,charset=missing.json",
    ],
)
def test_what_is_not_spelled_so_is_wrong_use(spelled: str) -> None:
    with pytest.raises(CompileError, match="LB731"):
        parse_metric(spelled)


def test_a_metric_is_asked_for_once() -> None:
    with pytest.raises(CompileError, match="twice"):
        parse_metrics(["top1", "top5", "top1,output=x"])


# --- any split, any order --------------------------------------------------------------------

_NOISE = np.random.default_rng(1).normal(0, 0.5, (60, 7)).astype(np.float32)


@pytest.mark.parametrize("name", ["top1", "top5", "agreement", "mse", "sqnr", "f1-macro"])
@given(sizes=st.lists(st.integers(1, 20), max_size=3))
def test_a_split_changes_no_bit(name: str, sizes: list[int]) -> None:
    scores, labels = softened(60, 7)
    metric = parse_metric(name)
    whole = measured(metric, scores + _NOISE, labels, scores)
    split = in_parts(metric, scores + _NOISE, labels, scores, tuple(sizes))
    assert split == whole
    assert metric.value(split.rows()) == metric.value(whole.rows())
    assert metric.influence(split.rows()) == metric.influence(whole.rows())


@pytest.mark.parametrize("metric", [ExactMatch(Reading()), CharacterErrors(Reading())])
def test_a_split_of_lines_changes_no_bit(metric: Metric) -> None:
    random = np.random.default_rng(2)
    scores, labels = random.normal(0, 1, (40, 6, 4)), random.integers(1, 4, (40, 3))
    whole = measured(metric, scores, labels, scores + 0.1)
    assert in_parts(metric, scores, labels, scores + 0.1, (3, 20)) == whole


def test_a_split_of_images_changes_no_bit() -> None:
    random = np.random.default_rng(3)
    corners = random.integers(0, 5, (30, 4, 2)).astype(float)
    boxes = np.concatenate((corners, corners + 5), axis=2)
    scores = random.integers(1, 4, (30, 4, 1)) / 4
    labels = np.concatenate(
        (boxes + random.integers(0, 3, (*boxes.shape[:2], 1)), random.integers(-1, 2, (30, 4, 1))),
        axis=2,
    )
    found = np.concatenate((boxes, scores, random.integers(0, 2, (30, 4, 1))), axis=2)
    metric = parse_metric("ap50")
    whole = measured(metric, found, labels)
    split = in_parts(metric, found, labels, None, (7, 7))
    assert metric.value(split.rows()) == metric.value(whole.rows())
    assert 0 < metric.value(whole.rows()) < 1
