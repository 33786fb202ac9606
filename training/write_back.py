"""Take what was learned back into the graph: levels of weights, biases, clips."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir.graph import fresh_name
from lowbitc.compiler.ir.types import TensorType

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import ValueType
    from lowbitc.training.layer import Layer
    from lowbitc.training.network import QuantizedNetwork


def settle(network: QuantizedNetwork) -> None:
    """Turn a network to float64, with clips and biases as the graph will hold them (float32)."""
    network.double()
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
    types, constants = dict(graph.types), dict(graph.constants)
    nodes = {node.name: node for node in graph.nodes}
    for layer in network.weighted_layers():
        node = _put(layer, types, constants)
        nodes[node.name] = node
    clips = {
        value: dataclasses.replace(clip, scale=network.quantizer(value).clip_scale())
        for value, clip in graph.clips.items()
    }
    return graph.replace(
        nodes=tuple(nodes.values()), types=types, constants=constants, clips=clips
    ).pruned()


def _put(layer: Layer, types: dict[str, ValueType], constants: dict[str, Array]) -> Node:
    compute = layer.chain.compute
    with torch.no_grad():
        levels, unit = layer.quantizer.levels(layer.weights)
        whole = layer.layout(levels).to(torch.int8).cpu().numpy()
        bias = layer.bias().float().cpu().numpy()
    weights = fresh_name(f"{compute.inputs[1]}.levels", types)
    constants[weights] = np.ascontiguousarray(whole)
    scales = tuple(float(s) for s in unit.cpu().numpy())
    types[weights] = TensorType(whole.shape, layer.quantizer.element, scales)
    shift = fresh_name(f"{compute.inputs[1]}.bias", types)
    constants[shift] = bias
    types[shift] = TensorType(bias.shape, F32)
    return dataclasses.replace(compute, inputs=(compute.inputs[0], weights, shift))
