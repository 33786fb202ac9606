"""Compare names the layer that was broken, and no layer of a sound program."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from lowbitc.comparing import Comparison, compare
from lowbitc.compiler.diagnostics import CompileError
from lowbitc.matching import match_program
from lowbitc.targets.engines.simulator import Simulator
from tests.comparing.breaking import (
    NETWORKS,
    broken_clip,
    broken_weights,
    images,
    model_of,
    outputs_of,
    program_of,
    rounded,
)
from tests.quantized_models.qdq import compiled, residual_model

LAYERS = [(name, layer) for name in NETWORKS for layer in outputs_of(rounded(name, "8/4/4"))]
CLIPPED = [(n, x) for n, x in LAYERS if not x.startswith("Dense")]
WEIGHTED = [(n, x) for n, x in LAYERS if x.startswith(("Conv", "Dense"))]


@functools.cache
def sound(network: str, bits: str) -> Comparison:
    model = model_of(NETWORKS[network]())
    program = program_of(rounded(network, bits), bits)
    return compare(model, program, images(), left_out=2, threads=1)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("bits", ["8/8/8", "8/4/4", "8/2/2"])
def test_no_layer_of_a_sound_program_is_bad(network: str, bits: str) -> None:
    found = sound(network, bits)
    assert found.first_bad is None, [(x.name, x.errors.parts) for x in found.layers if x.bad]


@pytest.mark.parametrize(("network", "layer"), CLIPPED)
def test_a_layer_with_a_wrong_clip_is_ranked_first(network: str, layer: str) -> None:
    factor = 0.25 if CLIPPED.index((network, layer)) % 2 else 4.0
    program = broken_clip(network, "8/4/4", layer, factor)
    found = compare(model_of(NETWORKS[network]()), program, images(), left_out=0, threads=1)
    worst = found.ranking[0]
    assert found.first_bad is not None
    assert worst.bad
    # Values of one Concat share a clip, so the blame is theirs together.
    sharing = {x.name for x in found.layers if x.excess_db == pytest.approx(worst.excess_db)}
    assert layer in sharing
    assert "clip" in worst.cause


@pytest.mark.parametrize(("network", "layer"), WEIGHTED[::2])
def test_a_layer_with_a_wrong_weight_scale_is_ranked_first(network: str, layer: str) -> None:
    program = broken_weights(network, "8/4/4", layer, 2.0)
    found = compare(model_of(NETWORKS[network]()), program, images(), left_out=0, threads=1)
    assert found.ranking[0].name == layer
    assert found.first_bad is found.ranking[0]
    assert found.ranking[0].sources


def test_an_exact_layer_at_the_broken_place_brings_the_outputs_back() -> None:
    (layer,) = (x for n, x in LAYERS if n == "residual" and x == "Conv4")
    program = broken_clip("residual", "8/8/8", layer, 0.05)
    found = compare(model_of(NETWORKS["residual"]()), program, images(), left_out=8, threads=1)
    gains = {x.name: x.left_out.gain_db for x in found.layers if x.left_out is not None}
    assert max(gains, key=lambda name: gains[name]) == layer
    assert gains[layer] > 6


def test_what_is_accumulated_at_the_last_layer_is_the_error_of_the_outputs() -> None:
    found = sound("residual", "8/4/4")
    last = found.layers[-1].errors.accumulated
    assert last.sqnr_db == pytest.approx(found.output.sqnr_db, abs=1e-3)
    assert last.max_error == pytest.approx(found.output.max_error, rel=1e-4)


def test_a_layer_alone_is_about_as_good_as_its_bits_allow() -> None:
    for bits in ("8/8/8", "8/4/4"):
        for layer in sound("residual", bits).layers:
            assert layer.errors.local.sqnr_db > layer.errors.expected_db - 3, layer.name


def test_the_same_twice_and_with_other_threads() -> None:
    model, graph = model_of(NETWORKS["branches"]()), rounded("branches", "8/4/4")
    program = program_of(graph, "8/4/4")
    one, two = (compare(model, program, images(5), left_out=2, threads=t) for t in (1, 2))
    assert one == two


def test_values_of_equalized_channels_are_brought_to_the_users_scale() -> None:
    graph = rounded("residual", "8/2/2")
    assert graph.gains
    program = program_of(graph, "8/2/2")
    assert {v: tuple(a) for v, a in program.gains.items()} == graph.gains
    match = match_program(program, model_of(NETWORKS["residual"]()))
    value = next(iter(program.gains))
    ones = np.ones(match.graph.shape(value), np.float32)
    assert np.allclose(match.scaled(value, match.scaled(value, ones), back=True), 1)


def test_rotated_streams_are_compared_in_the_basis_that_the_program_has() -> None:
    graph = rounded("residual", "8/2/2")
    program = program_of(graph, "8/2/2")
    assert program.rotated == graph.rotated
    assert len(program.rotated) == 3
    match = match_program(program, model_of(NETWORKS["residual"]()))
    assert match.graph.rotated == program.rotated
    found = {x.tensor: x.errors for x in sound("residual", "8/2/2").layers}
    assert all(found[value].accumulated.sqnr_db > 3 for value in program.rotated)


def test_a_program_of_another_model_is_refused() -> None:
    program = program_of(rounded("residual", "8/4/4"), "8/4/4")
    with pytest.raises(CompileError) as caught:
        compare(model_of(NETWORKS["branches"]()), program, images())
    assert [d.code for d in caught.value.diagnostics] == ["LB770"]


def test_a_model_that_is_quantized_itself_is_refused() -> None:
    proto = residual_model()
    with pytest.raises(CompileError) as caught:
        compare(proto, compiled(proto).program, {"x": np.zeros((1, 3, 8, 8), np.float32)})
    assert [d.code for d in caught.value.diagnostics] == ["LB776"]


@pytest.mark.parametrize("network", NETWORKS)
def test_the_traced_program_gives_the_bits_of_the_engines(network: str) -> None:
    from lowbitc.targets.engines.tracing import Tracer  # noqa: PLC0415

    program = program_of(rounded(network, "8/4/4"), "8/4/4")
    wanted = Simulator(program, "reference", threads=1).run(images(3))
    found = Simulator(program, threads=1, maker=Tracer().make).run(images(3))
    for name, array in wanted.items():
        assert np.array_equal(array, found[name])
