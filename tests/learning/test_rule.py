"""One neuron of the class learns: it moves connections to where the example is active."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.targets.learning.rule import Neurons, Plasticity, first_connections, move


def neurons(classes: int = 2, each: int = 3, inputs: int = 20, connections: int = 5) -> Neurons:
    count = classes * each
    nothing = np.zeros(count, np.int32)
    return Neurons(
        np.zeros((count, inputs), np.bool_), nothing, nothing.copy(), connections, classes
    )


def example(*active: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    found = np.zeros(20, np.bool_)
    found[list(active)] = True
    return found


def test_the_first_example_takes_all_connections_that_it_has_room_for() -> None:
    held = neurons()
    held.learn(example(1, 4, 7, 9, 12, 15), 1, Plasticity())
    assert held.learned.tolist() == [0, 0, 0, 1, 0, 0]
    assert held.connected[3].sum() == 5
    assert not held.connected[3][[0, 2, 3, 5, 6, 8, 10, 11, 13, 14, 16, 17, 18, 19]].any()
    assert held.thresholds[3] == 5


def test_connections_without_an_active_input_stay_where_they_were() -> None:
    held = neurons()
    held.learn(example(2, 3), 0, Plasticity())
    before = first_connections(0, 20, 5)
    assert held.connected[0][[2, 3]].all()
    assert held.connected[0].sum() == 5
    assert held.connected[0][~example(2, 3)].sum() == 3
    assert not (held.connected[0] & ~before & ~example(2, 3)).any()


def test_only_neurons_of_the_class_learn() -> None:
    held = neurons()
    held.learn(example(1, 2, 3, 4, 5), 0, Plasticity())
    before = held.connected.copy()
    held.learn(example(1, 2, 3, 4, 5), 1, Plasticity())
    assert np.array_equal(held.connected[:3], before[:3])
    assert held.learned.tolist() == [1, 0, 0, 1, 0, 0]


def test_what_is_new_takes_a_neuron_that_has_learned_nothing() -> None:
    held = neurons()
    held.learn(example(0, 1, 2, 3, 4), 0, Plasticity())
    held.learn(example(10, 11, 12, 13, 14), 0, Plasticity())
    assert held.learned[:3].tolist() == [1, 1, 0]


def test_what_a_neuron_knows_as_well_as_ever_is_its_own() -> None:
    held = neurons()
    for _ in range(2):
        held.learn(example(0, 1, 2, 3, 4), 0, Plasticity())
    assert held.learned[:3].tolist() == [2, 0, 0]


@pytest.mark.parametrize(("competition", "learned"), [(0.0, [1, 1, 0]), (0.5, [2, 0, 0])])
def test_competition_keeps_others_from_learning_what_is_alike(
    competition: float, learned: list[int]
) -> None:
    held = neurons()
    held.learn(example(0, 1, 2, 3, 4), 0, Plasticity(competition=competition))
    held.learn(example(0, 1, 2, 5, 6), 0, Plasticity(competition=competition))
    assert held.learned[:3].tolist() == learned


def test_without_free_neurons_the_best_one_learns() -> None:
    held = neurons(each=1)
    held.learn(example(0, 1, 2, 3, 4), 0, Plasticity())
    held.learn(example(0, 10, 11, 12, 13), 0, Plasticity())
    assert held.learned[0] == 2
    # Plasticity fell to 0.75: three of the four inactive connections moved.
    assert np.count_nonzero(held.connected[0] & example(0, 10, 11, 12, 13)) == 4
    assert held.connected[0].sum() == 5


def test_plasticity_falls_by_its_decay_to_its_minimum() -> None:
    rule = Plasticity(initial=0.8, minimum=0.2, decay=0.25)
    assert [rule.share(k) for k in range(5)] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.2])


def test_no_more_connections_move_than_there_are_active_inputs_without_one() -> None:
    before = example(0, 1, 2, 3, 4)
    after = move(before, example(3, 4, 9), 1.0, (0, 0))
    assert after[[3, 4, 9]].all()
    assert after.sum() == 5


def test_the_same_examples_give_the_same_neurons() -> None:
    random = np.random.default_rng(0)
    examples = [(random.random(20) < 0.4, int(label)) for label in random.integers(0, 2, 30)]
    runs: list[Neurons] = []
    for _ in range(2):
        held = neurons()
        for active, label in examples:
            held.learn(active, label, Plasticity(competition=0.2))
        runs.append(held)
    assert np.array_equal(runs[0].connected, runs[1].connected)
    assert (runs[0].connected.sum(axis=1)[runs[0].learned > 0] == 5).all()
