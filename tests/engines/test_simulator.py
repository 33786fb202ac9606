"""The simulator runs steps in order, batches freely, and refuses what does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.elements import F32, U8
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType
from lowbitc.targets.container import Container, Section, SectionType, encode_arrays
from lowbitc.targets.engines.answers import check_answers, with_answers
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.program import program_of
from tests.program.graphs import Net, every_operator, inputs, program, small_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array

ENGINE = "reference"


def run(count: int, batch: int = 64) -> dict[str, Array]:
    simulator = Simulator(program(every_operator()), ENGINE, threads=1)
    simulator.batch = batch
    return simulator.run(inputs(7)) if count == 7 else simulator.run(inputs(count))


def refusals(data: dict[str, Array]) -> list[str]:
    with pytest.raises(CompileError) as caught:
        Simulator(program(small_graph()), ENGINE).run(data)
    return [d.code for d in caught.value.diagnostics]


def test_outputs_are_named_as_the_models_and_hold_all_samples() -> None:
    found = run(7)
    assert {name: array.shape for name, array in found.items()} == {
        every_operator().outputs[0]: (7, 3),
        every_operator().outputs[1]: (7, 5),
    }


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_size_of_micro_batches_changes_no_bit(batch: int) -> None:
    whole, parts = run(7), run(7, batch)
    for name, array in whole.items():
        assert np.array_equal(array, parts[name])


def test_micro_batches_are_of_one_size_as_far_as_possible() -> None:
    """A last one of one sample would take nearly as long as a large one."""
    simulator = Simulator(program(every_operator()), ENGINE, threads=1)
    simulator.batch = 5
    sizes: list[int] = []

    def observe(step: int, feeds: Mapping[str, Array], made: Mapping[str, Array]) -> None:
        del made
        if step == 0:
            sizes.append(len(next(iter(feeds.values()))))

    simulator.run(inputs(6), observe=observe)
    assert sizes == [3, 3]


def test_what_leaves_the_cpu_goes_on_to_the_next_launch() -> None:
    graph = every_operator()
    found = run(3)
    logits = found[graph.outputs[1]].astype(np.float32)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    soft = shifted / shifted.sum(axis=1, keepdims=True)
    levels = np.rint(soft * 255)
    dense = graph.nodes[-2]
    w, bias = (graph.constants[v].astype(np.float64) for v in dense.inputs[1:])
    scale = np.asarray(graph.tensor(dense.outputs[0]).scale)
    expected = (levels @ w.T + bias) * scale
    assert found[graph.outputs[0]] == pytest.approx(expected, abs=0.2)


def test_pieces_that_mix_samples_run_one_by_one() -> None:
    """A softmax over all samples would give other values for more of them."""
    net = Net((1, 4, 6, 6))
    sums = net.dequantize(net.dense(net.flat(net.quantize()), 3))
    held = TensorType((1, 3), F32)
    made = net.put(ops.Softmax, (sums,), held, axis=0)
    net.reasons[net.nodes[-1].name] = "LB200"
    read = program(net.graph(made))
    assert not read.host_steps[0].together
    x = np.random.default_rng(0).uniform(0, 5, (4, 4, 6, 6)).astype(np.float32)
    assert np.array_equal(Simulator(read, ENGINE).run({"x": x})[made], np.ones((4, 3)))


def test_a_model_of_several_frames_keeps_them_together() -> None:
    net = Net((2, 3))
    out = net.dequantize(net.dense(net.quantize(), 4))
    simulator = Simulator(program(net.graph(out)), ENGINE)
    x = np.random.default_rng(0).uniform(0, 5, (5, 2, 3)).astype(np.float32)
    assert simulator.run({"x": x})[out].shape == (5, 2, 4)


def test_other_number_types_are_widened_when_nothing_is_lost() -> None:
    x = np.random.default_rng(0).integers(0, 5, (2, 3, 8, 8))
    simulator = Simulator(program(small_graph()), ENGINE)
    name = small_graph().outputs[0]
    whole = simulator.run({"x": x.astype(np.uint8)})[name]
    assert np.array_equal(whole, simulator.run({"x": x.astype(np.float32)})[name])


def test_arrays_that_do_not_fit_are_refused_with_all_reasons() -> None:
    good = inputs(2)["x"]
    assert refusals({}) == ["LB720"]
    assert refusals({"image": good}) == ["LB720", "LB741"]
    assert refusals({"x": good, "z": good}) == ["LB741"]
    assert refusals({"x": good[:, :2]}) == ["LB721"]
    assert refusals({"x": good.astype(np.complex64)}) == ["LB722"]
    assert refusals({"x": good[:0]}) == ["LB723"]
    assert refusals({"x": np.asarray(1, np.float32)}) == ["LB741"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    bad = inputs(3)["x"].copy()
    bad[1, 0, 0, 0] = value
    assert refusals({"x": bad}) == ["LB724"]


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(CompileError) as caught:
        Simulator(program(small_graph()), "quantum")
    assert caught.value.diagnostics[0].code == "LB740"


def test_known_answers_hold_for_the_engine_that_made_them() -> None:
    answered = with_answers(program(every_operator()), inputs(1), ENGINE)
    assert [a.step for a in answered.known_answers] == [0, 2]
    assert list(check_answers(answered, ENGINE)) == []


def test_a_wrong_known_answer_is_found() -> None:
    answered = with_answers(program(small_graph()), inputs(1), ENGINE)
    (answer,) = answered.known_answers
    ((name, right),) = answer.outputs.items()
    wrong_values = np.asarray(right, np.float32) + 1
    arrays = {"in:x": answer.inputs["x"], f"out:{name}": wrong_values}
    old = answered.container
    kept = [s for s in old.sections if s.kind != SectionType.KNOWN_ANSWER]
    wrong = Section(SectionType.KNOWN_ANSWER, 0, encode_arrays(arrays))
    changed = program_of(Container(old.manifest, (*kept, wrong)))
    (found,) = check_answers(changed, ENGINE)
    assert found.code == "LB744"
    assert found.found == "4 of 4 values differ, in no layer by itself"


def test_levels_may_cross_from_one_launch_to_the_next() -> None:
    net = Net((1, 4))
    first = net.quantize()
    logits = net.dequantize(net.dense(first, 3))
    soft = net.softmax(logits)
    second = net.dense(net.quantize(soft, U8, 1 / 255), 4, out=U8)
    joined = net.dequantize(net.add(first, second))
    read = program(net.graph(joined))
    assert first in read.launches[1].inputs
    x = np.random.default_rng(0).uniform(0, 5, (3, 4)).astype(np.float32)
    assert Simulator(read, ENGINE).run({"x": x})[joined].shape == (3, 4)
