"""Hold a trained network and its program against each other: level by level, class by class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from lowbitc.compiler.diagnostics import Diagnostic, Severity
from lowbitc.passes.quantize import level_name
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.engines.tracing import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lowbitc.compiler.datasets.stream import Batch, Dataset
    from lowbitc.compiler.elements import Array
    from lowbitc.targets.program.program import Program
    from lowbitc.training.network import QuantizedNetwork


@dataclass(frozen=True, slots=True)
class LayerAgreement:
    """How many levels of a layer's output were compared, and how many differ, by how much at most.

    A level may differ where a sum lies within 2^-24 of a step: the chip's multipliers have 24 bits.
    """

    name: str
    levels: int
    differing: int
    largest: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """What training and the program make of the same samples.

    ``accuracy`` is the share of labels that training's own network hits, ``simulated`` the
    program's; both are None without labels. ``differing`` counts predicted classes that are not
    the same; it is None where no single row of scores leaves the chip.
    """

    samples: int
    differing: int | None
    accuracy: float | None
    simulated: float | None
    layers: tuple[LayerAgreement, ...]

    @property
    def levels(self) -> int:
        """Number of levels that were compared."""
        return sum(layer.levels for layer in self.layers)

    @property
    def differing_levels(self) -> int:
        """Number of levels that are not the same."""
        return sum(layer.differing for layer in self.layers)


def compare_levels(
    network: QuantizedNetwork,
    program: Program,
    dataset: Dataset,
    count: int,
    *,
    threads: int = 0,
    advance: Callable[[int, int], None],
) -> Agreement:
    """Run a settled network and a program on the first ``count`` samples, and count what differs.

    What the CPU makes for the chip is the program's in both. ``advance`` is told samples done and
    samples in all.
    """
    tracer = Tracer()
    simulator = Simulator(program, threads=threads, maker=tracer.make)
    meeting = _Meeting(network)
    for batch in dataset.batches(simulator.batch, 0, count):
        simulator.run(batch.inputs)
        values = dict(batch.inputs)
        for launch in tracer.launches:
            values.update(launch.values)
        meeting.compare(batch, values)
        advance(meeting.samples, count)
    return meeting.found()


_TIES = 1e-5
"""Share of levels that sums within 2^-24 of a step may explain."""


def disagreement(found: Agreement) -> tuple[Diagnostic, ...]:
    """Return a warning, LB788, where more differs than ties explain."""
    if not found.differing and found.differing_levels <= max(1.0, found.levels * _TIES):
        return ()
    worst = max(found.layers, key=lambda layer: layer.differing)
    differing = f"{found.differing or 0} of {found.samples} predicted classes"
    levels = f"{found.differing_levels:,} of {found.levels:,} levels"
    return (
        Diagnostic(
            "LB788",
            Severity.WARNING,
            "the program is not what training computed",
            found=f"{differing} and {levels} differ, most in {worst.name}",
            allowed=f"the same classes, and {_TIES:.0e} of the levels, for ties",
            hint="believe the simulated accuracy, and report the network as a bug of lowbitc",
        ),
    )


@dataclass(slots=True)
class _Count:
    levels: int = 0
    differing: int = 0
    largest: int = 0


@dataclass(slots=True)
class _Meeting:
    """Counts over batches."""

    network: QuantizedNetwork
    samples: int = 0
    labelled: int = 0
    hits: int = 0
    simulated: int = 0
    differing: int = 0
    counts: dict[str, _Count] = field(default_factory=dict[str, _Count])

    @property
    def scores(self) -> str | None:
        """The value that holds a row of scores for each sample, where one alone leaves the chip."""
        results, graph = self.network.results, self.network.graph
        single = len(results) == 1 and graph.tensor(results[0]).size == graph.shape(results[0])[-1]
        return results[0] if single and graph.shape(results[0])[-1] > 1 else None

    def compare(self, batch: Batch, values: Mapping[str, Array]) -> None:
        network = self.network
        feeds = {
            v: torch.as_tensor(
                np.asarray(values[v], np.float32).reshape(-1, *network.graph.shape(v)[1:])
            )
            for v in network.sources
        }
        with torch.no_grad():
            found = network.run_levels(feeds)
            real = network.reals(found, network.results)
        for value, levels in found.items():
            if value not in network.sources and not network.leaves(value):
                self.count(value, levels.numpy(), values[level_name(value)])
        self.samples += batch.size
        if self.scores is not None:
            own = real[self.scores].numpy().reshape(batch.size, -1).argmax(axis=1)
            theirs = values[self.scores].reshape(batch.size, -1).argmax(axis=1)
            self.differing += int((own != theirs).sum())
            if batch.labels is not None:
                self.labelled += batch.size
                self.hits += int((own == batch.labels.reshape(-1)).sum())
                self.simulated += int((theirs == batch.labels.reshape(-1)).sum())

    def count(self, value: str, own: Array, theirs: Array) -> None:
        held = self.counts.setdefault(self.network.step_of[value].nodes[0].name, _Count())
        gap = np.abs(np.rint(own).astype(np.int64).ravel() - theirs.astype(np.int64).ravel())
        held.levels += gap.size
        held.differing += int((gap != 0).sum())
        held.largest = max(held.largest, int(gap.max(initial=0)))

    def found(self) -> Agreement:
        return Agreement(
            self.samples,
            None if self.scores is None else self.differing,
            self.hits / self.labelled if self.labelled else None,
            self.simulated / self.labelled if self.labelled else None,
            tuple(
                LayerAgreement(name, held.levels, held.differing, held.largest)
                for name, held in self.counts.items()
            ),
        )
