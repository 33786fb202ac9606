"""Block reconstruction: one block after the other learns to give the float network's values.

Each block is trained on the inputs that it really gets from the quantized blocks before it, for
the squared error of what it hands on, each value weighted by how much it matters for the results
(BRECQ, arXiv 2102.05426); the last one for the divergence of the scores. Samples need no labels.
"""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from lowbitc.training.blocks import find_blocks
from lowbitc.training.distributed import alone
from lowbitc.training.held_levels import HeldLevels
from lowbitc.training.loop import cosine
from lowbitc.training.losses import distance, spreads
from lowbitc.training.records import EpochRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.training.blocks import Block
    from lowbitc.training.examples import Examples
    from lowbitc.training.loop import Schedule
    from lowbitc.training.network import QuantizedNetwork


_DRAWS = 4
"""How many versions of each sample there are, where samples vary; an epoch sees all of them."""


class Reconstructor:
    """Trains the blocks of a network in order; ``records`` gets an entry an epoch of each."""

    def __init__(
        self,
        network: QuantizedNetwork,
        wanted: Graph,
        examples: Examples,
        schedule: Schedule,
        device: torch.device,
        threads: int = 0,
    ) -> None:
        """Prepare ``wanted``, the float network whose values are wanted, and the blocks."""
        self.network, self.schedule, self.device = network.to(device), schedule, device
        self.blocks = find_blocks(network)
        draws = min(schedule.reconstruct, _DRAWS) if examples.augmentation else 1
        self.epochs = schedule.reconstruct // draws
        feeds = examples.drawn(network.graph, draws)
        self.held = HeldLevels(network, wanted, feeds, device, threads)
        self.results = self.held.floats(network.results)
        self.records: list[EpochRecord] = []

    @property
    def steps(self) -> int:
        """Number of batches in all."""
        return len(self.blocks) * self.epochs * self._batches

    @property
    def _batches(self) -> int:
        return math.ceil(self.held.count / self.schedule.batch)

    def run(self, advance: Callable[[int], None]) -> None:
        """Train all blocks; ``advance`` is told steps done."""
        for number, block in enumerate(self.blocks):
            learned = self.learned(block)
            if learned:
                self._train(number, block, learned, advance)
            self.held.run(block.steps)

    def learned(self, block: Block) -> list[nn.Parameter]:
        """Return what a block learns: its layers', and the clips that no block before it set."""
        network = self.network
        layers = [network.layer_at[i] for i in block.steps if i in network.layer_at]
        found = [p for layer in layers for p in layer.parameters() if p.requires_grad]
        fixed = {
            network.quantizer_of[v]
            for step in network.steps[: block.steps.start]
            for node in step.nodes
            for v in (*step.inputs, *node.outputs)
            if v in network.quantizer_of
        } | {network.quantizer_of[v] for v in block.entries}
        inside = {
            network.quantizer_of[v]: v
            for i in block.steps
            for node in network.steps[i].nodes
            for v in node.outputs
            if v in network.quantizer_of
        }
        return [*found, *(network.quantizer(v).factor for q, v in inside.items() if q not in fixed)]

    def _train(
        self, number: int, block: Block, learned: list[nn.Parameter], advance: Callable[[int], None]
    ) -> None:
        schedule = self.schedule
        wanted = self.held.floats(block.exits)
        spread = self._spread(wanted)
        roots: dict[str, Tensor] = {}
        if block.steps.stop < len(self.network.steps):
            matters = self.held.sensitivities(block, self.results)
            roots = {v: t.sqrt() for v, t in matters.items()}
        optimizer = torch.optim.Adam(learned, lr=schedule.block_rate)
        total = self.epochs * self._batches
        before = number * total
        for epoch in range(self.epochs):
            random = np.random.default_rng((schedule.seed, number, epoch))
            order = torch.as_tensor(random.permutation(self.held.count))
            losses: list[float] = []
            for index in range(self._batches):
                step = epoch * self._batches + index
                rows = order[index * schedule.batch : (index + 1) * schedule.batch]
                optimizer.param_groups[0]["lr"] = cosine(schedule.block_rate, step, total)
                loss = self._loss(block, rows, wanted, roots, spread)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                losses.append(float(loss.detach()))
                advance(before + step + 1)
            rate = optimizer.param_groups[0]["lr"]
            mean, clip = math.fsum(losses) / len(losses), self.network.mean_factor()
            part = ", ".join(block.exits)
            self.records.append(EpochRecord(epoch, mean, rate, clip=clip, part=part))

    def _spread(self, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the variance of each value that is no row of scores that leaves the chip."""
        leaving = {v: t.flatten(0, 1) for v, t in wanted.items() if v in self.network.results}
        inside = {v: t.var() for v, t in wanted.items() if v not in leaving}
        found = {**inside, **spreads(leaving, alone(), counts=True)}
        least = torch.finfo(torch.float32).tiny
        return {v: t.clamp(min=least).to(self.device) for v, t in found.items()}

    def _loss(
        self,
        block: Block,
        rows: Tensor,
        wanted: Mapping[str, Tensor],
        roots: Mapping[str, Tensor],
        spread: Mapping[str, Tensor],
    ) -> Tensor:
        """Return how far what a block hands on is from the float network's, on some samples."""
        levels = self.network.run_steps(block.steps, self.held.rows(block.entries, rows))
        found = self.network.reals(levels, block.exits)
        targets = {v: self.held.take(target, rows) for v, target in wanted.items()}
        for value, root in roots.items():
            part = self.held.take(root, rows)
            found[value], targets[value] = found[value] * part, targets[value] * part
        return distance(found, targets, self.schedule.temperature, spread)
