"""States flow from one sample to the next, as they do in the float network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lowbitc import compile_with, load, simulate
from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.onnx_session import OnnxSession
from lowbitc.compiler.states import State
from lowbitc.gating import gate
from lowbitc.options import settle
from lowbitc.targets.engines.simulator import Simulator
from tests.networks.zoo import CASES

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.targets.program.program import Program
    from tests.networks.building import Array
    from tests.networks.zoo import Case


@pytest.fixture(scope="module")
def case() -> Case:
    return CASES["windows_of_sound"]()


@pytest.fixture(scope="module")
def program(case: Case) -> Program:
    return compile_with(case.model, _options(case)).program


def _options(case: Case, **held: Any) -> Any:  # noqa: ANN401 - settings of any kind
    _, h, c = case.outputs
    settings: dict[str, Any] = {
        "states": (f"h={h}", f"c={c}"),
        "calib": {"x": case.inputs["x"]},
        **held,
    }
    return settle(None, bits="8/8/8", shapes=case.shapes, threads=1, **settings)


def _by_hand(case: Case, run: Any, x: Array) -> Array:  # noqa: ANN401 - any runner
    """Feed the states from step to step without help."""
    y, h, c = case.outputs
    held = {"h": np.zeros((1, 1, 4), np.float32), "c": np.zeros((1, 1, 4), np.float32)}
    found: list[Array] = []
    for sample in x:
        outputs = run({"x": sample, **held})
        found.append(outputs[y])
        held = {"h": outputs[h], "c": outputs[c]}
    return np.stack(found)


def test_a_stream_is_what_feeding_the_states_by_hand_gives(case: Case, program: Program) -> None:
    x = case.inputs["x"]
    simulator, other = (Simulator(program, threads=1) for _ in range(2))

    def step(feeds: dict[str, Array]) -> dict[str, Array]:
        made = other.run({"x": feeds["x"][None], "h": feeds["h"], "c": feeds["c"]})
        return {
            name: array[0] if name == case.outputs[0] else array for name, array in made.items()
        }

    assert np.array_equal(simulator.run({"x": x})[case.outputs[0]], _by_hand(case, step, x))


def test_a_stream_stays_near_the_float_network(case: Case, program: Program) -> None:
    x = case.inputs["x"]
    session = OnnxSession(case.model.SerializeToString(), threads=1)
    wanted = _by_hand(case, session.run, x)
    found = Simulator(program, threads=1).run({"x": x})[case.outputs[0]]
    noise = float(np.square(wanted - found).sum())
    assert 10 * np.log10(np.square(wanted).sum() / noise) > 25


def test_states_live_on_from_call_to_call_until_a_reset(case: Case, program: Program) -> None:
    x = case.inputs["x"]
    simulator = Simulator(program, threads=1)
    whole = simulator.run({"x": x})[case.outputs[0]]
    simulator.reset()
    halves = [simulator.run({"x": part})[case.outputs[0]] for part in (x[:3], x[3:])]
    assert np.array_equal(np.concatenate(halves), whole)
    again = simulator.run({"x": x})[case.outputs[0]]
    assert not np.array_equal(again, whole)


def test_another_sequence_starts_from_zeros(case: Case, program: Program) -> None:
    x = case.inputs["x"]
    twice = {"x": np.concatenate([x, x]), "sequence": np.repeat([7, 8], len(x))}
    found = Simulator(program, threads=1).run(twice)[case.outputs[0]]
    assert np.array_equal(found[: len(x)], found[len(x) :])


def test_states_that_are_given_are_taken(case: Case, program: Program) -> None:
    inputs = {k: v.reshape(8, 1, 4) if k in "hc" else v for k, v in case.inputs.items()}
    simulator = Simulator(program, threads=1)
    first = simulator.run(inputs)[case.outputs[0]]
    assert np.array_equal(first, simulator.run(inputs)[case.outputs[0]])


def test_a_program_keeps_its_states(case: Case, program: Program, tmp_path: Path) -> None:
    path = tmp_path / "net.lbc"
    program.save(path)
    assert load(path).states == (
        State("h", case.outputs[1]),
        State("c", case.outputs[2]),
    )


def test_simulate_and_gate_run_streams_in_order(
    case: Case, program: Program, tmp_path: Path
) -> None:
    x = case.inputs["x"]
    wanted = Simulator(program, threads=1).run({"x": x})[case.outputs[0]]
    found = simulate(program, {"x": x}, threads=1, keep_outputs=True)
    assert found.outputs is not None
    assert np.array_equal(found.outputs[case.outputs[0]], wanted)
    path = tmp_path / "net.onnx"
    path.write_bytes(case.model.SerializeToString())
    verdict = gate(
        program,
        {"x": x},
        metric=f"sqnr,output={case.outputs[0]}",
        minimum=20.0,
        reference=path,
        threads=1,
    )
    assert verdict.passed


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (("h",), "LB540"),
        (("none=lstm14_1",), "LB540"),
        (("h=none",), "LB540"),
        (("h=lstm14_1", "h=lstm14_2"), "LB540"),
        (("x=lstm14_1",), "LB541"),
    ],
)
def test_states_that_do_not_fit_are_refused(case: Case, states: tuple[str, ...], code: str) -> None:
    with pytest.raises(CompileError) as refused:
        compile_with(case.model, _options(case, states=states))
    assert {d.code for d in refused.value.diagnostics} == {code}
