"""Lay the path of mixes for a network: measure every layer, weigh what its widths save."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.assigning import assigning
from lowbitc.compilation import samples_of
from lowbitc.compiler.bits import Bits
from lowbitc.compiler.ir.first_layers import first_layers
from lowbitc.compiler.ir.groups import KEEPS_LEVELS
from lowbitc.compiler.manager import PassManager
from lowbitc.mixing import FULL, Goal, Mix, Option, Saving, find_path
from lowbitc.passes.absorb_shifts import AbsorbShifts
from lowbitc.passes.calibrate_pact import CalibratePact
from lowbitc.passes.chains import channels_of, find_chains
from lowbitc.passes.folding import FOLDING
from lowbitc.passes.measure_sensitivity import Part, measure_sensitivity
from lowbitc.targets.registry import load_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.passes.measure_sensitivity import Sensitivity
    from lowbitc.targets.cost import LayerCost
    from lowbitc.trials import Trial, Trials

_SAMPLES = 64
"""Samples that every layer is measured on: divergences are smooth, and this is done often."""
_STAGE_WORD_BYTES = 4
_REQUANTIZE_WORDS = 5
_DENSEST = 0.95


@dataclass(frozen=True, slots=True)
class Path:
    """Mixes from the most bits down, what they were made from, and the layers in order.

    ``widest`` are the most bits that the target holds, with the layers that the user keeps on the
    CPU; ``full`` is the program at them. ``sensitivities`` are those of all narrower widths.
    """

    mixes: tuple[Mix, ...]
    full: Trial
    sensitivities: tuple[Sensitivity, ...]
    order: tuple[str, ...]
    widest: Widest

    def bits(self, mix: Mix) -> Bits:
        """Return the bits of a mix."""
        return mix.bits(self.order, self.widest.bits)

    def width(self, mix: Mix, layer: str, part: Part) -> int:
        """Return the width of a layer's weights or activations in a mix."""
        return mix.widths.get((layer, part), self.widest.of(layer, part))


@dataclass(frozen=True, slots=True)
class Widest:
    """The most bits that a target holds of a network whose ``first`` layers are named."""

    bits: Bits
    first: frozenset[str]

    def of(self, layer: str, part: Part) -> int:
        """Return the most bits of a layer's weights or activations."""
        if part is Part.ACTIVATIONS:
            return self.bits.activations
        return self.bits.first if layer in self.first else self.bits.weights

    def beyond(self, lost: Sequence[Sensitivity]) -> Iterator[Sensitivity]:
        """Yield what narrower widths cost more than the widest one does."""
        held = {(s.layer, s.part): s for s in lost if s.width == self.of(s.layer, s.part)}
        for one in lost:
            most = held.get((one.layer, one.part))
            if one.width >= self.of(one.layer, one.part):
                continue
            yield (
                one
                if most is None
                else dataclasses.replace(
                    one,
                    divergence=max(one.divergence - most.divergence, 0.0),
                    drop=one.drop - most.drop,
                    zeros=one.zeros - most.zeros,
                )
            )


def lay_path(trials: Trials, goal: Goal) -> Path:
    """Measure every layer of a network at every width, and compile it at the most bits."""
    graph = _calibrated(trials)
    count = min(_SAMPLES, trials.options.limit)
    measured = measure_sensitivity(
        graph,
        lambda: samples_of(trials.graph, trials.calib, count),
        trials.options.clip,
        lambda done, steps: trials.report("measure layers", done, steps),
    )
    widest = Widest(trials.options.bits, first_layers(graph))
    full = trials.run(widest.bits)
    target = load_target(trials.options.target)
    costs = {layer.name: layer for layer in full.layers}
    weigh = _Savings(graph, costs, target.figure("synaptic_op_energy"), widest)
    allowed = {Part.WEIGHTS: target.weight_bits, Part.ACTIVATIONS: target.activation_bits}
    lost = tuple(s for s in widest.beyond(measured) if s.width in allowed[s.part])
    whole = Saving(full.size_bytes, full.dynamic_energy_j)
    order = tuple(node.name for node in graph.nodes)
    mixes = find_path([Option(s, weigh.of(s)) for s in lost], whole, goal)
    return Path(mixes, full, lost, order, widest)


def _calibrated(trials: Trials) -> Graph:
    """Return the folded network with its clips at 8 bits, where the target runs what it can."""
    options = trials.options
    target = load_target(options.target)
    count = min(_SAMPLES, options.limit)
    passes = (
        *FOLDING,
        assigning(target, options.bits, options.offload),
        AbsorbShifts(),
        CalibratePact(
            lambda: samples_of(trials.graph, trials.calib, count),
            Bits(FULL, FULL, FULL, options.bits.layers),
            options.clip,
            options.threads,
        ),
    )
    return PassManager(passes).run(trials.graph).graph


class _Savings:
    """What a width saves, from the layers' cost at the widest."""

    def __init__(
        self, graph: Graph, costs: Mapping[str, LayerCost], operation_j: float, widest: Widest
    ) -> None:
        self.graph = graph
        self.widest = widest
        self.operation_j = operation_j
        self.costs = costs
        self.chains = {chain.compute.name: chain for chain in find_chains(graph)}
        self.nodes = {node.name: node for node in graph.nodes}
        self.readers = graph.consumers()

    def of(self, lost: Sensitivity) -> Saving:
        """Return what a width saves against the widest."""
        return self.weights(lost) if lost.part is Part.WEIGHTS else self.activations(lost)

    def weights(self, lost: Sensitivity) -> Saving:
        """Fewer bits a weight; energy is by synaptic operation and bit."""
        share = (self.widest.of(lost.layer, lost.part) - lost.width) / FULL
        weights = self.graph.tensor(self.nodes[lost.layer].inputs[1]).size
        cost = self.costs.get(lost.layer)
        operations = cost.synaptic_ops if cost is not None else 0.0
        return Saving(weights * share, operations * self.operation_j * share)

    def activations(self, lost: Sensitivity) -> Saving:
        """More zeros, which cause no event; thresholds take more room than a multiplier."""
        words = _words(lost.width) - _words(self.widest.of(lost.layer, lost.part))
        chain = self.chains.get(lost.layer)
        channels = channels_of(self.graph, chain.compute) if chain else 0
        value = chain.output if chain else self.nodes[lost.layer].outputs[0]
        energy = sum(
            cost.energy_j * lost.zeros / max(1 - cost.sparsity, 1 - _DENSEST)
            for cost in self.reading(value)
        )
        return Saving(-_STAGE_WORD_BYTES * words * channels, energy)

    def reading(self, value: str) -> Iterator[LayerCost]:
        """Yield the cost of the layers that read a value, also where levels are moved between."""
        for node in self.readers.get(value, []):
            if isinstance(node, KEEPS_LEVELS):
                yield from itertools.chain.from_iterable(map(self.reading, node.outputs))
            elif node.name in self.costs:
                yield self.costs[node.name]


def _words(width: int) -> int:
    """Return the constants of a channel's output stage: thresholds, or those of a multiplier."""
    return (1 << width) - 1 if width < FULL else _REQUANTIZE_WORDS
