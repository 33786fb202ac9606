"""Programs of small networks, with the calibration of one layer broken on purpose."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compilation import input_specs, options_text, quantizing, silent
from lowbitc.compiler.datasets.opening import open_dataset
from lowbitc.compiler.export.model import assemble_graph
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.ir.groups import SUMMING
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassManager
from lowbitc.options import Options, settle
from lowbitc.passes.chains import by_output, find_chains
from lowbitc.passes.folding import FOLDING
from lowbitc.passes.plan_levels import plan_levels
from lowbitc.targets.build import build_program
from lowbitc.targets.registry import load_target
from tests.quantization.networks import Builder, residual_network, samples

if TYPE_CHECKING:
    import onnx

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.targets.program import Program


def model_of(graph: Graph) -> onnx.ModelProto:
    return assemble_graph(graph).whole()


def images(count: int = 16) -> dict[str, Array]:
    return {"x": np.concatenate([sample["x"] for sample in samples(count)])}


def branches() -> Graph:
    """Return a network with a Concat of unlike branches, a pool, and an activation by table."""
    net = Builder((1, 3, 12, 12), 3)
    stem = net.relu(net.conv("x", 6))
    wide, thin = net.relu(net.conv(stem, 6)), net.silu(net.conv(stem, 4, kernel=1, pad=0))
    both = net.max_pool(net.concat(wide, thin))
    last = net.relu(net.conv(both, 8))
    return net.graph(net.dense(net.flat(net.mean(last)), 5))


NETWORKS = {"residual": residual_network, "branches": branches}


def options_of(bits: str) -> Options:
    return settle(None, calib=images(), bits=bits, threads=1)


@functools.cache
def rounded(network: str, bits: str) -> Graph:
    """Return a network with its clips and rounded weights, before it is made of integers."""
    options = options_of(bits)
    imported = import_model(model_of(NETWORKS[network]())).graph
    dataset = open_dataset(images(), input_specs(imported))
    passes = quantizing(imported, load_target("lb1"), options, dataset, silent)[:-2]
    return PassManager((*FOLDING, *passes)).run(imported).graph


def program_of(graph: Graph, bits: str) -> Program:
    options, target = options_of(bits), load_target("lb1")
    passes = quantizing(graph, target, options, None, silent)[-2:]
    partitioned = PassManager(passes).run(graph).graph
    return build_program(partitioned, target, options_text(options)).program


def outputs_of(graph: Graph) -> dict[str, str]:
    """Map the name of each layer with weights to the value that it puts out."""
    found = by_output(find_chains(graph))
    return {c.compute.name: v for v, c in found.items() if isinstance(c.compute, SUMMING)}


def broken_clip(network: str, bits: str, layer: str, factor: float) -> Program:
    """Build a program with the clip of a layer, and of all that share it, multiplied."""
    graph = rounded(network, bits)
    value = outputs_of(graph)[layer]
    (group,) = (g for g in plan_levels(graph, options_of(bits).bits) if value in g.values)
    clip = graph.clips[value]
    wrong = dataclasses.replace(clip, scale=float(np.float32(clip.scale * factor)))
    changed = {**graph.clips, **dict.fromkeys(group.values, wrong)}
    return program_of(graph.replace(clips=changed), bits)


def broken_weights(network: str, bits: str, layer: str, factor: float) -> Program:
    """Build a program with the scales of a layer's weights multiplied, its levels as they are."""
    graph = rounded(network, bits)
    (node,) = (n for n in graph.nodes if n.name == layer)
    held = graph.tensor(node.inputs[1])
    scales = tuple(scale * factor for scale in held.scale)
    wrong = TensorType(held.shape, held.element, scales)
    return program_of(graph.replace(types={**graph.types, node.inputs[1]: wrong}), bits)
