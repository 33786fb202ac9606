"""What runs on the chip, and the reason for everything that does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lowbitc.compiler.bits import Bits, LayerBits, parse_bits
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error
from lowbitc.passes.assign_devices import AssignDevices
from tests.quantization.networks import Builder, residual_network

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph


def _nothing(_graph: Graph) -> dict[str, tuple[Diagnostic, ...]]:
    return {}


def test_the_targets_sentence_is_the_reason() -> None:
    graph = residual_network()
    name = graph.nodes[4].name
    refused = {name: (error("LB201", "kernels are square", found="3x1"),)}
    reasons = AssignDevices(lambda _graph: refused).run(graph).graph.host_reasons
    assert reasons[name] == "LB201: kernels are square (found 3x1)"


def test_islands_without_weights_go_to_the_cpu() -> None:
    net = Builder((1, 4, 8, 8))
    pooled = net.max_pool("x")
    out = net.conv(net.relu(pooled), 3)
    graph = net.graph(net.max_pool(out))
    cut = {graph.nodes[1].name: (error("LB200", "no"),)}
    reasons = AssignDevices(lambda _graph: cut).run(graph).graph.host_reasons
    assert set(reasons) == {graph.nodes[0].name, graph.nodes[1].name}
    assert reasons[graph.nodes[0].name].startswith("LB290")


def test_a_last_table_or_reshape_is_left_to_the_cpu() -> None:
    net = Builder((1, 4, 8, 8))
    graph = net.graph(net.flat(net.silu(net.conv("x", 3))))
    reasons = AssignDevices(_nothing).run(graph).graph.host_reasons
    assert {r[:5] for r in reasons.values()} == {"LB291"}
    assert set(reasons) == {n.name for n in graph.nodes[1:]}


def test_a_last_sum_is_left_to_the_cpu_which_keeps_its_resolution() -> None:
    net = Builder((1, 4, 8, 8))
    graph = net.graph(net.add(net.conv("x", 3), net.conv("x", 3)))
    reasons = AssignDevices(_nothing).run(graph).graph.host_reasons
    assert list(reasons) == [graph.nodes[-1].name]
    inner = net.graph(net.relu(graph.outputs[0]))
    assert not AssignDevices(_nothing).run(inner).graph.host_reasons


def test_a_launch_without_weights_is_left_to_the_cpu() -> None:
    """The sum waits for the CPU, so it shares no launch with the convolutions beside it."""
    net = Builder((1, 4, 8, 8))
    first = net.conv("x", 4)
    beside = net.conv("x", 4)
    on_cpu = net.relu(first)
    last = net.relu(net.add(on_cpu, beside))
    graph = net.graph(last)
    cut = {graph.producers()[on_cpu].name: (error("LB200", "no"),)}
    reasons = AssignDevices(lambda _graph: cut).run(graph).graph.host_reasons
    assert reasons[graph.producers()[last].name].startswith("LB290")
    assert set(reasons) == {n.name for n in graph.nodes if n.op != "Conv"}


def test_the_user_can_keep_a_layer_on_the_cpu() -> None:
    graph = residual_network()
    bits = Bits(layers=(LayerBits("Dense*", on_host=True),))
    reasons = AssignDevices(_nothing, bits).run(graph).graph.host_reasons
    assert any(r.startswith("LB292") for r in reasons.values())


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    bits = Bits(layers=(LayerBits("/block9/*", weights=4),))
    with pytest.raises(CompileError, match="/block9/"):
        AssignDevices(_nothing, bits).run(residual_network())


@pytest.mark.parametrize("text", ["8/4", "8/3/4", "", "8/4/4/4", "a/b/c", "8/-4/4", "16/4/4"])
def test_bits_that_are_not_three_widths_are_refused(text: str) -> None:
    with pytest.raises(CompileError) as refused:
        parse_bits(text)
    assert refused.value.diagnostics[0].code == "LB401"
    assert repr(text) in refused.value.diagnostics[0].found


def test_the_last_pattern_that_fits_wins() -> None:
    node = residual_network().nodes[0]
    layers = (LayerBits("Conv*", weights=2), LayerBits("Conv0", weights=8, activations=1))
    bits = parse_bits("4/4/4", layers)
    assert bits.weight_bits(node, first=True) == 8
    assert bits.activation_bits(node) == 1
