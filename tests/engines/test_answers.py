"""An engine that computes a layer wrongly misses the stored answer, and the layer is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from lowbitc.cli.main import lowbitc as command
from lowbitc.targets.container import Container, SectionType
from lowbitc.targets.engines import answers
from lowbitc.targets.engines.answers import check_answers, with_answers
from lowbitc.targets.engines.registry import engine_maker
from lowbitc.targets.program import Program, program_of
from tests.program.graphs import inputs, program, small_graph

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lowbitc.compiler.elements import Array
    from lowbitc.targets.engines.engine import LaunchRunner
    from lowbitc.targets.engines.events import Counts
    from lowbitc.targets.program import Launch

WHOLE = with_answers(program(small_graph()), inputs(1), "reference")
WEIGHTED = [
    n.name for n in WHOLE.launches[0].graph.nodes if n.op in {"QConv", "QDense", "QConvTranspose"}
]


class Wrong:
    """Runs a launch in which one layer has another first weight."""

    def __init__(self, right: LaunchRunner) -> None:
        self.right = right

    def run(self, feeds: Mapping[str, Array], counts: Counts | None = None) -> dict[str, Array]:
        return self.right.run(feeds, counts)


def breaking(layer: str) -> object:
    """Return what gives an engine that negates the weights of a layer."""

    def maker(_name: str) -> object:
        def make(held: Program, launch: Launch, threads: int) -> Wrong:
            graph = launch.graph
            names = [n.inputs[1] for n in graph.nodes if n.name == layer]
            wrong = {v: -graph.constants[v].astype(np.int16) for v in names}
            changed = {v: np.clip(a, -3, 3).astype(np.int8) for v, a in wrong.items()}
            constants = {**graph.constants, **changed}
            piece = type(launch)(graph.replace(constants=constants))
            return Wrong(engine_maker("reference")(held, piece, threads))

        return make

    return maker


@pytest.mark.parametrize("layer", WEIGHTED)
def test_the_first_layer_that_differs_is_named(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "engine_maker", breaking(layer))
    (*found,) = check_answers(WHOLE, "broken")
    assert found
    first = found[0]
    assert (first.code, [s.node for s in first.sources]) == ("LB744", [f"/{layer}"])
    assert f"first in the layer {layer}" in first.found


def test_verify_says_how_many_values_hold(tmp_path: Path) -> None:
    path = tmp_path / "whole.lbc"
    WHOLE.save(path)
    for engine in ("fast", "reference", "event"):
        found = CliRunner().invoke(command, ["verify", str(path), "--engine", engine])
        assert found.exit_code == 0, found.output
        assert "gives the stored answers" in found.stdout
    json = CliRunner().invoke(command, ["verify", str(path), "--format", "json"])
    assert '"passed": true' in json.stdout


def test_a_missed_answer_exits_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "whole.lbc"
    WHOLE.save(path)
    monkeypatch.setattr(answers, "engine_maker", breaking(WEIGHTED[0]))
    found = CliRunner().invoke(command, ["verify", str(path)])
    assert found.exit_code == 1
    assert WEIGHTED[0] in found.stderr


def test_a_program_without_answers_was_not_verified(tmp_path: Path) -> None:
    old = WHOLE.container
    kept = tuple(s for s in old.sections if s.kind != SectionType.KNOWN_ANSWER)
    path = tmp_path / "bare.lbc"
    program_of(Container(old.manifest, kept)).save(path)
    found = CliRunner().invoke(command, ["verify", str(path)])
    assert found.exit_code == 4
    assert "LB774" in found.stderr
