"""Learn weights, clips and biases of the chip's layers by training (PACT, SAWB, LSQ)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.diagnostics import error, raise_errors
from lowbitc.compiler.manager import PassResult
from lowbitc.training.agreement import compare_levels
from lowbitc.training.distributed import Team, alone
from lowbitc.training.loop import Schedule, Trainer
from lowbitc.training.losses import Objective
from lowbitc.training.network import QuantizedNetwork
from lowbitc.training.quantizers import WeightMethod
from lowbitc.training.reconstruct import Reconstructor
from lowbitc.training.records import EpochRecord
from lowbitc.training.straight_through import ClipGradient
from lowbitc.training.whole_network import is_whole
from lowbitc.training.write_back import settle, write_back

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lowbitc.compiler.datasets.stream import Dataset
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import Pass
    from lowbitc.targets.program.program import Program
    from lowbitc.training.agreement import Agreement
    from lowbitc.training.examples import Examples


@dataclass(frozen=True, slots=True)
class Start:
    """A calibrated graph to train, and the float one whose outputs are wanted."""

    begun: Graph
    wanted: Graph


@dataclass(slots=True)
class Outcome:
    """What a run of the pass leaves: an entry an epoch, and the network that was trained."""

    records: list[EpochRecord] = field(default_factory=list[EpochRecord])
    network: QuantizedNetwork | None = None


@dataclass(frozen=True, slots=True)
class TrainWeights:
    """Train a calibrated graph, and give its weights as levels.

    What is minimised in training is what the chip computes: levels of layers, sums and output
    stages are the integer graph's own. Training starts where ``start``, a pass that rounds
    weights, ends; without it, at the float weights. ``advance`` is told the kind of
    training, steps done and steps in all; ``outcome`` is filled. In a team the lead alone runs the
    pass and reconstructs, and all train.
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
    advance: Callable[[str, int, int], None] | None = None
    outcome: Outcome = field(default_factory=Outcome)

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
        self.outcome.network = network
        noticed = found[0].diagnostics if found else ()
        return PassResult(write_back(network), changed=True, diagnostics=noticed)

    def train(self, start: Start) -> QuantizedNetwork:
        """Train in step with the team; without layers that hold weights, do nothing."""
        network = QuantizedNetwork(start.begun, self.bits, self.weights, self.clips)
        if not network.weighted_layers():
            return network
        self._check_labels(network)
        with self.team.threads(self.threads) as threads:
            self._reconstruct(network, start.wanted, threads)
            trainer = Trainer(
                network,
                start.wanted,
                self.examples,
                self.objective,
                self.schedule,
                self.team,
                threads,
            )
            trainer.run(lambda done, total: self._tell("train", done, total), self.checkpoint)
        self.outcome.records.extend(trainer.records)
        return network

    def compare(
        self,
        program: Program,
        dataset: Dataset,
        count: int,
        advance: Callable[[int, int], None],
    ) -> Agreement | None:
        """Hold the trained network against its program, as ``compare_levels`` does.

        None where nothing was trained.
        """
        network = self.outcome.network
        if network is None:
            return None
        return compare_levels(
            network, program, dataset, count, threads=self.threads, advance=advance
        )

    def _reconstruct(self, network: QuantizedNetwork, wanted: Graph, threads: int) -> None:
        """Train block by block, in one process for all."""
        if not self.schedule.reconstruct:
            return
        if self.team.lead:
            run = Reconstructor(
                network, wanted, self.examples, self.schedule, self.team.device, threads
            )
            run.run(lambda done: self._tell("reconstruct", done, run.steps))
            self.outcome.records.extend(run.records)
        if self.team.size > 1:
            held = {k: v.cpu() for k, v in network.state_dict().items()}
            network.load_state_dict(self.team.share(held if self.team.lead else None))

    def _tell(self, kind: str, done: int, total: int) -> None:
        if self.advance is not None:
            self.advance(kind, done, total)

    def _check_labels(self, network: QuantizedNetwork) -> None:
        """Refuse labels where the chip's only result does not hold one row of scores a sample."""
        if self.objective is Objective.FLOAT or self.examples.labels is None:
            return
        graph = network.graph
        results = graph.outputs if is_whole(network) else network.results
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
