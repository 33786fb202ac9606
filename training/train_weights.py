"""Learn weights, clips and biases of the chip's layers by training (PACT, SAWB, LSQ)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.diagnostics import error, raise_errors
from lowbitc.compiler.manager import PassResult
from lowbitc.training.checkpoint import EpochRecord
from lowbitc.training.distributed import Team, alone
from lowbitc.training.loop import Examples, Schedule, Trainer
from lowbitc.training.losses import Objective
from lowbitc.training.network import QuantizedNetwork
from lowbitc.training.quantizers import WeightMethod
from lowbitc.training.straight_through import ClipGradient
from lowbitc.training.write_back import settle, write_back

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import Pass


@dataclass(frozen=True, slots=True)
class Start:
    """A calibrated graph to train, and the float one whose outputs are wanted."""

    begun: Graph
    wanted: Graph


@dataclass(frozen=True, slots=True)
class TrainWeights:
    """Train a calibrated graph, and give its weights as levels.

    What is minimised in training is what the chip computes: levels of layers, sums and output
    stages are the integer graph's own. Training starts where ``start``, a pass that rounds
    weights, ends; without it, at the float weights. ``advance`` is told steps done and steps
    in all; ``records`` gets an entry an epoch. In a team the lead alone runs the pass, and all
    train.
    """

    name: ClassVar[str] = "train-weights"
    examples: Examples
    bits: Bits = Bits()
    start: Pass | None = None
    weights: WeightMethod = WeightMethod.LSQ
    clips: ClipGradient = ClipGradient.PACT_PLUS
    objective: Objective = Objective.BOTH
    schedule: Schedule = field(default_factory=Schedule)
    team: Team = field(default_factory=alone)
    checkpoint: Path | None = None
    threads: int = 0
    advance: Callable[[int, int], None] | None = None
    records: list[EpochRecord] = field(default_factory=list[EpochRecord])

    def run(self, graph: Graph) -> PassResult:
        """Return the graph whose weight constants hold int8 levels.

        Raises CompileError LB791 where labels cannot reach what the chip puts out, LB792 where a
        checkpoint is of another run, LB795 where it is of another number of processes.
        """
        found = () if self.start is None else (self.start.run(graph),)
        begun = found[0].graph if found else graph
        network = self.train(self.team.share(Start(begun, graph)))
        if not network.weighted_layers():
            return PassResult(graph, changed=False)
        settle(network)
        noticed = found[0].diagnostics if found else ()
        return PassResult(write_back(network), changed=True, diagnostics=noticed)

    def train(self, start: Start) -> QuantizedNetwork:
        """Train in step with the team; without layers that hold weights, do nothing."""
        network = QuantizedNetwork(start.begun, self.bits, self.weights, self.clips)
        if not network.weighted_layers():
            return network
        self._check_labels(network)
        with self.team.threads(self.threads) as threads:
            trainer = Trainer(
                network,
                start.wanted,
                self.examples,
                self.objective,
                self.schedule,
                self.team,
                threads,
            )
            trainer.run(self.advance, self.checkpoint)
        self.records.extend(trainer.records)
        return network

    def _check_labels(self, network: QuantizedNetwork) -> None:
        """Refuse labels where the chip's only result does not hold one row of scores a sample."""
        if self.objective is Objective.FLOAT or self.examples.labels is None:
            return
        graph, results = network.graph, network.results
        classes = graph.tensor(results[0]).size if len(results) == 1 else 0
        most = int(self.examples.labels.max(initial=0))
        if classes <= most:
            found = f"{len(results)} values leave the chip: {', '.join(results)}"
            if len(results) == 1:
                found = f"{results[0]} holds {classes} values a sample, and labels go up to {most}"
            raise_errors(
                [
                    error(
                        "LB791",
                        "labels cannot train what leaves the chip",
                        found=found,
                        allowed="one value that holds a score for each class",
                        hint="train toward the float network's outputs: --toward float",
                    )
                ]
            )
