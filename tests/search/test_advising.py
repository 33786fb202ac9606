"""After a compilation, the layers that lost most are named, with what to try."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from lowbitc.advising import Advice, advise, entries
from lowbitc.cli.main import lowbitc as command
from lowbitc.compilation import Compilation, compile_with
from lowbitc.compiler.bits import LayerBits
from lowbitc.compiler.config import read_config
from lowbitc.compiler.manager import Measured
from lowbitc.options import settle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (folder / part.name).write_bytes(part.read_bytes())
    return folder / "digits.onnx"


def _compiled(model: Path, bits: str, weights: str | None = None) -> Compilation:
    return compile_with(model, settle(model, bits=bits, weights=weights, limit=32, threads=1))


def test_few_bits_are_to_blame_and_more_are_the_remedy(model: Path) -> None:
    made = _compiled(model, "8/2/2")
    advices = advise(made)
    assert 0 < len(advices) <= 5
    assert [a.error for a in advices] == sorted((a.error for a in advices), reverse=True)
    for advice in advices:
        assert advice.bits == 2
        key = "activations" if advice.measured is Measured.LEVELS else "weights"
        assert advice.attempt == f"{key} = 4"


def test_at_8_bits_there_is_nothing_to_say(model: Path) -> None:
    assert advise(_compiled(model, "8/8/8")) == ()


@pytest.mark.parametrize("weights", ["mse", "sawb", "feedback"])
def test_every_way_of_rounding_measures_every_layer(model: Path, weights: str) -> None:
    made = _compiled(model, "8/4/4", weights)
    kind = Measured.SUMS if weights == "feedback" else Measured.WEIGHTS
    layers = {n.name for n in made.graph.nodes if n.op in {"QConv", "QDense"}}
    assert {e.layer for e in made.errors if e.measured is kind} == layers
    assert all(0 <= e.error < 1 for e in made.errors)


def test_fewer_bits_lose_more(model: Path) -> None:
    wide, narrow = (_compiled(model, bits, "mse").errors for bits in ("8/4/4", "8/2/2"))
    before = {(e.layer, e.measured): e for e in wide}
    assert {e.bits for e in narrow} == {8, 2}
    for error in narrow:
        other = before[error.layer, error.measured]
        assert error.error > other.error if error.bits < other.bits else error == other


def test_entries_of_one_layer_become_one() -> None:
    advices = [
        Advice("a", Measured.SUMS, 2, 0.2, LayerBits("a", weights=4), ""),
        Advice("b", Measured.LEVELS, 8, 0.1, None, ""),
        Advice("a", Measured.LEVELS, 2, 0.1, LayerBits("a", activations=4), ""),
    ]
    assert entries(advices) == (LayerBits("a", 4, 4),)


def test_what_is_printed_can_be_pasted(model: Path, tmp_path: Path) -> None:
    arguments = ("--bits", "8/2/2", "--limit", "32", "-o", str(tmp_path / "x.lbc"))
    result = CliRunner().invoke(command, ["compile", str(model), *arguments])
    assert result.exit_code == 0
    _, _, after = result.stdout.partition("In lowbitc.toml:\n")
    pasted, _, _ = after.partition("\nprogram ")
    path = tmp_path / "lowbitc.toml"
    path.write_text(pasted, encoding="utf-8")
    layers = read_config(path).layers
    assert layers
    assert all(4 in (layer.weights, layer.activations) for layer in layers)
