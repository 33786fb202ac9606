"""A program learns new classes; nothing but its learning layer changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

import lowbitc
from lowbitc.cli.main import lowbitc as command
from lowbitc.compiler.diagnostics import CompileError
from lowbitc.learning import feature_program, learn
from lowbitc.targets.container import SectionType
from lowbitc.targets.engines.answers import check_answers
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.registry import ENGINES
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.learning.rule import Plasticity
from lowbitc.targets.program.load import load_program
from lowbitc.targets.program.records import LEARNING_SECTION
from tests.networks.building import Model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt
    import onnx

    from lowbitc.targets.program import Program

    Array = npt.NDArray[Any]

CLASSES, NEURONS, INPUTS = 4, 3, 64


def network(*, pooled: bool = False) -> onnx.ModelProto:
    """Return a network with a dense layer behind a ReLU, or behind a mean."""
    net = Model(2)
    x = net.relu(net.conv(net.input("x", "n", 2, 6, 6), 2, 8))
    if pooled:
        mean = net.add("GlobalAveragePool", x)
        return net.done(net.dense(net.add("Flatten", mean, axis=1), 8, 3))
    hidden = net.relu(net.dense(net.reshape(x, 0, -1), 8 * 36, INPUTS))
    return net.done(net.dense(hidden, INPUTS, 3))


def images(count: int, seed: int = 0) -> dict[str, Array]:
    """Return labelled images of which each class has a pattern of its own, and noise."""
    random = np.random.default_rng(seed)
    patterns = np.random.default_rng(9).normal(0, 1, (CLASSES, 2, 6, 6))
    labels = np.arange(count) % CLASSES
    x = patterns[labels] + random.normal(0, 0.15, (count, 2, 6, 6))
    return {"x": x.astype(np.float32), "y": labels.astype(np.int64)}


@pytest.fixture(scope="module")
def blank() -> Program:
    """Compile a program whose layer has learned nothing."""
    calib = {"x": images(32)["x"]}
    return lowbitc.compile(
        network(), calib=calib, bits="8/4/4", weights="mse", learn=f"{CLASSES}:{NEURONS}", threads=1
    )


def test_what_was_learned_is_recognised(blank: Program) -> None:
    found = learn(blank, images(24))
    result = lowbitc.simulate(found.program, images(80, seed=1))
    assert found.examples == 24
    assert found.neurons == (NEURONS,) * CLASSES
    assert result.metrics["top1"] > 0.9


def test_classes_can_be_learned_later_and_old_neurons_stay(blank: Program) -> None:
    data = images(24)
    old = {name: array[data["y"] < 2] for name, array in data.items()}
    new = {name: array[data["y"] >= 2] for name, array in data.items()}
    first = learn(blank, old)
    both = learn(first.program, new)
    assert first.neurons == (NEURONS, NEURONS, 0, 0)
    assert both.neurons == (NEURONS,) * CLASSES
    assert both.connections == first.connections
    before, after = (_weights(p.program) for p in (first, both))
    assert np.array_equal(before[: 2 * NEURONS], after[: 2 * NEURONS])


def test_learning_in_two_steps_is_learning_in_one(blank: Program) -> None:
    data = images(20)
    halves = [{name: array[part] for name, array in data.items()} for part in _HALVES]
    once = learn(blank, data, connections=4)
    twice = learn(learn(blank, halves[0], connections=4).program, halves[1])
    assert once.program.digest == twice.program.digest


_HALVES = (slice(0, 10), slice(10, 20))


def test_nothing_but_the_layer_changes(blank: Program) -> None:
    made = learn(blank, images(12)).program
    before = {(s.kind, s.number): bytes(s.data) for s in blank.container.sections}
    after = {(s.kind, s.number): bytes(s.data) for s in made.container.sections}
    assert made.manifest == blank.manifest
    changed = {key for key in after if before.get(key) != after[key]}
    own = {(int(SectionType.NP_IMAGE), p.index) for p in blank.placement.of_layer()["learn"]}
    state = (int(SectionType.CONSTANTS), LEARNING_SECTION)
    # The known answer of its launch holds the layer's sums.
    answer = (int(SectionType.KNOWN_ANSWER), 0)
    assert changed == {*own, state, answer}
    for key in own:
        same = [a == b for a, b in zip(before[key], after[key], strict=True)]
        assert all(same[:80])
    assert before.keys() == after.keys() - {state}


def test_known_answers_and_engines_agree_after_learning(blank: Program) -> None:
    made = learn(blank, images(12)).program
    x = {"x": images(6, seed=3)["x"]}
    runs: dict[str, tuple[bytes, str]] = {}
    for engine in ENGINES:
        assert not list(check_answers(made, engine, threads=1))
        counts = Counts()
        (out,) = Simulator(made, engine, threads=1).run(x, counts=counts).values()
        runs[engine] = (out.tobytes(), str(counts))
    assert len(set(runs.values())) == 1


def test_an_akd1000_learns_too() -> None:
    net = Model(2)
    x = net.relu(net.conv(net.input("x", "n", 1, 8, 8), 1, 8))
    model = net.done(net.dense(net.reshape(net.relu(net.conv(x, 8, 8)), 0, -1), 8 * 64, 3))
    random = np.random.default_rng(0)
    labels = np.arange(40) % CLASSES
    noise = random.normal(0, 0.1, (40, 1, 8, 8))
    x_all = np.clip(random.normal(0, 1, (CLASSES, 1, 8, 8))[labels] + noise, 0, 4)
    held = x_all.astype(np.float32)
    blank = lowbitc.compile(
        model,
        calib={"x": held},
        bits="8/4/4",
        weights="mse",
        learn=f"{CLASSES}:{NEURONS}",
        target="akd1000",
        offload="all",
        threads=1,
    )
    made = learn(blank, {"x": held[:20], "y": labels[:20]}).program
    result = lowbitc.simulate(made, {"x": held[20:], "y": labels[20:]}, engine="event")
    assert result.device.mac_share == 1
    assert result.metrics["top1"] > 0.9


def test_a_program_that_learned_reads_back_the_same(blank: Program, tmp_path: Path) -> None:
    made = learn(blank, images(12)).program
    made.save(tmp_path / "a.lbc")
    assert load_program(tmp_path / "a.lbc").digest == made.digest


def test_a_class_that_learned_nothing_is_never_guessed(blank: Program) -> None:
    data = {name: array[images(16)["y"] == 1] for name, array in images(16).items()}
    made = learn(blank, data).program
    (scores,) = Simulator(made).run({"x": images(40, seed=5)["x"]}).values()
    assert set(scores.argmax(axis=1).tolist()) == {1}


def test_features_are_binary(blank: Program) -> None:
    (features,) = Simulator(feature_program(blank)).run({"x": images(4)["x"]}).values()
    assert features.shape == (4, INPUTS)
    assert set(np.unique(features).tolist()) == {0, 1}


def _weights(program: Program) -> Array:
    graph = program.launches[-1].graph
    return graph.constants["learn.weight"]


def save(path: Path, data: dict[str, Array]) -> None:
    np.savez(path, x=data["x"], y=data["y"])


def codes(run: Callable[..., object], *arguments: object, **settings: object) -> list[str]:
    with pytest.raises(CompileError) as caught:
        run(*arguments, **settings)
    return [d.code for d in caught.value.diagnostics]


def test_a_program_without_the_layer_is_refused() -> None:
    plain = lowbitc.compile(network(), bits="8/4/4", weights="mse")
    assert codes(learn, plain, images(4)) == ["LB550"]


def test_a_network_without_binary_features_is_refused() -> None:
    assert codes(lowbitc.compile, network(pooled=True), learn="4") == ["LB551"]


@pytest.mark.parametrize("spelled", ["", "0", "4:0", "4:x", "4:", ":3", "-1"])
def test_a_layer_that_is_not_spelled_right_is_refused(spelled: str) -> None:
    assert codes(lowbitc.compile, network(), learn=spelled) == ["LB552"]


def test_labels_that_the_layer_has_no_neurons_for_are_refused(blank: Program) -> None:
    data = images(8)
    assert codes(learn, blank, {"x": data["x"]}) == ["LB553"]
    assert codes(learn, blank, {"x": data["x"], "y": data["y"] + 1}) == ["LB553"]
    assert codes(learn, blank, {"x": data["x"], "y": data["y"] - 1}) == ["LB553"]


def test_parameters_out_of_range_are_refused(blank: Program) -> None:
    assert codes(learn, blank, images(8), connections=INPUTS + 1) == ["LB554"]
    assert codes(learn, blank, images(8), connections=0) == ["LB554"]
    rates = Plasticity(competition=1.5, decay=-0.1)
    assert codes(learn, blank, images(8), plasticity=rates) == ["LB554", "LB554"]
    made = learn(blank, images(8), connections=5).program
    assert codes(learn, made, images(8), connections=6) == ["LB554"]


def test_the_command_learns_and_simulates(blank: Program, tmp_path: Path) -> None:
    blank.save(tmp_path / "blank.lbc")
    save(tmp_path / "few.npz", images(16))
    save(tmp_path / "test.npz", images(40, seed=1))
    few, new = str(tmp_path / "few.npz"), str(tmp_path / "new.lbc")
    arguments = ["learn", str(tmp_path / "blank.lbc"), "--data", few, "-o", new]
    made = CliRunner().invoke(command, [*arguments, "--format", "json"])
    assert made.exit_code == 0
    shown = json.loads(made.stdout)
    assert shown["examples"] == 16
    assert min(shown["neurons_used"]) > 0
    text = CliRunner().invoke(command, arguments)
    assert "4 of 4 have learned something" in text.stdout
    run = ["simulate", new, "--data", str(tmp_path / "test.npz"), "--format", "json"]
    assert json.loads(CliRunner().invoke(command, run).stdout)["metrics"]["top1"] > 0.9
