"""Take what was learned back into the graph: levels of weights, biases, clips."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from lowbitc.passes.put_levels import RoundedLayer, put_levels

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.training.layer import Layer
    from lowbitc.training.network import QuantizedNetwork


def settle(network: QuantizedNetwork) -> None:
    """Turn a network to float64 on the CPU, with clips and biases as the graph will hold them."""
    network.to("cpu", torch.float64)
    with torch.no_grad():
        for value in network.quantizer_of:
            held = network.quantizer(value)
            held.first.fill_(held.clip_scale())
            held.factor.fill_(1.0)
        for layer in network.weighted_layers():
            layer.bias_first.copy_(layer.bias().float())
            layer.bias_steps.zero_()


def write_back(network: QuantizedNetwork) -> Graph:
    """Return the graph with the levels, biases and clips of a settled network."""
    graph = network.graph
    for layer in network.weighted_layers():
        graph, _ = put_levels(graph, layer.chain.compute, _rounded(layer))
    clips = {
        value: dataclasses.replace(clip, scale=network.quantizer(value).clip_scale())
        for value, clip in graph.clips.items()
    }
    return graph.replace(clips=clips).pruned()


def _rounded(layer: Layer) -> RoundedLayer:
    with torch.no_grad():
        levels, unit = layer.quantizer.levels(layer.weights)
        whole = layer.layout(levels).to(torch.int8).cpu().numpy()
        bias = layer.bias().cpu().numpy()
    return RoundedLayer(layer.quantizer.element, whole, unit.cpu().numpy(), bias)
