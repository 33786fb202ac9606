"""The training loop: batches in a seeded order, Adam, a cosine schedule, checkpoints."""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.execute import FloatSession
from lowbitc.training.arithmetic import Arithmetic, Settings
from lowbitc.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from lowbitc.training.exchange import Exchange
from lowbitc.training.failures import other_run
from lowbitc.training.losses import Objective, distance, spreads
from lowbitc.training.records import EpochRecord
from lowbitc.training.sums import CHUNK
from lowbitc.training.whole_network import WholeNetwork, is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from lowbitc.compiler.elements import Array, Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.training.distributed import Team
    from lowbitc.training.examples import Examples
    from lowbitc.training.exchange import AdaComp
    from lowbitc.training.network import QuantizedNetwork


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train.

    ``learning_rate`` is Adam's, in units of one level for weights and of the first value for
    clips; it falls to 0 as half a cosine. ``batch`` is that of all processes together.
    ``clip_decay`` is PACT's λ on (α/α₀)². ``arithmetic`` is that of the backward products; in FP8
    ``chunk`` products are added before their sum is. ``compression`` is how gradients go from
    process to process. Before all, each block is trained ``reconstruct`` epochs, at ``block_rate``.
    With ``normalize`` batches norm the sums of layers, and statistics are taken at the end.
    """

    epochs: int = 10
    batch: int = 64
    learning_rate: float = 0.01
    clip_decay: float = 0.0
    temperature: float = 1.0
    seed: int = 0
    arithmetic: Arithmetic = Arithmetic.FLOAT
    chunk: int = CHUNK
    compression: AdaComp | None = None
    reconstruct: int = 0
    block_rate: float = 0.02
    normalize: bool = True


_MEASURED = 4096
"""Examples that the statistics of sums are taken of, where training begins and ends."""


def cosine(rate: float, step: int, total: int) -> float:
    """Return the learning rate of a step, of one that falls to 0."""
    return rate * 0.5 * (1 + math.cos(math.pi * step / total))


class Trainer:
    """Trains one network, alone or in a team; all that it needs to go on is in ``state``."""

    def __init__(
        self,
        network: QuantizedNetwork,
        wanted: Graph,
        examples: Examples,
        objective: Objective,
        schedule: Schedule,
        team: Team,
        threads: int = 0,
    ) -> None:
        """Prepare ``wanted``, the float network whose outputs are wanted, and the optimizer."""
        self.network, self.examples = network, examples
        self.objective, self.schedule, self.team = objective, schedule, team
        self.whole = WholeNetwork(network) if is_whole(network) else network
        made = [v for v in self.whole.sources if v not in wanted.inputs]
        self.teacher = FloatSession(
            wanted, fetch=[*self.whole.results, *made], threads=threads, fast=True
        )
        self.settings = Settings(schedule.arithmetic, schedule.seed, schedule.chunk)
        network.set_arithmetic(self.settings, team)
        self.whole.to(team.device)
        self.exchange = Exchange(network, team, schedule.compression)
        if schedule.normalize:
            network.learn_norms(team)
        learned = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(learned, lr=schedule.learning_rate)
        self.step = self.hits = 0
        self.records: list[EpochRecord] = []

    @property
    def steps_an_epoch(self) -> int:
        """Number of batches."""
        return math.ceil(len(self.examples) / self.schedule.batch)

    def run(
        self, advance: Callable[[int, int], None] | None = None, checkpoint: Path | None = None
    ) -> None:
        """Train until the schedule's end; ``advance`` is told steps done and steps in all.

        A checkpoint is written after every epoch, and read first where it is there: the result is
        that of a run that was not interrupted.
        """
        total = self.schedule.epochs * self.steps_an_epoch
        self._agree()
        if self.schedule.normalize:
            self._measure()
            self.network.begin_norms()
        if checkpoint is not None:
            self._read(checkpoint)
        while len(self.records) < self.schedule.epochs:
            epoch = len(self.records)
            losses = self._train_epoch(epoch, total, advance)
            rate = self.optimizer.param_groups[0]["lr"]
            loss = math.fsum(losses) / len(losses)
            accuracy, clip = self._accuracy(), self.network.mean_factor()
            ratios = self.exchange.ratios()
            self.records.append(EpochRecord(epoch, loss, rate, accuracy, clip, compression=ratios))
            if checkpoint is not None:
                held = self.state()
                if self.team.lead:
                    save_checkpoint(checkpoint, held)
        if self.schedule.normalize:
            self._measure()
            self.network.fold_norms()

    def _measure(self) -> None:
        """Take the statistics of layers' sums, each process by itself and the same."""
        with torch.no_grad():
            self.network.watch_norms()
            epoch = len(self.records)
            for rows in islice(self.batches(epoch), math.ceil(_MEASURED / self.schedule.batch)):
                self.whole(self._sources(self._known(rows, epoch)))

    def _agree(self) -> None:
        """Refuse to train with processes that were given something else."""
        found = self.team.gather(self.fingerprint())
        if others := [rank for rank, theirs in enumerate(found) if theirs != found[0]]:
            raise CompileError([other_run(others)])

    def _read(self, checkpoint: Path) -> None:
        """Go on from a checkpoint, where the lead finds one."""
        held: Checkpoint | None = None
        if self.team.lead and checkpoint.exists():
            held = load_checkpoint(checkpoint, self.fingerprint(), self.team.size)
        if (shared := self.team.share([held])[0]) is not None:
            self.resume(shared)

    def _train_epoch(
        self, epoch: int, total: int, advance: Callable[[int, int], None] | None
    ) -> list[float]:
        """Train on all examples once; return the loss of each batch."""
        model = self.exchange.wrap(self.whole)
        self.hits = 0
        losses: list[float] = []
        for rows in self.batches(epoch):
            self.set_rate(total)
            losses.append(self.train_on(model, rows))
            self.step += 1
            if advance is not None:
                advance(self.step, total)
        own = torch.tensor(losses, dtype=torch.float64) / self.team.size
        return cast("list[float]", self.team.sum(own).tolist())

    def _accuracy(self) -> float | None:
        """Return the share of labels that the last epoch hit, while its network changed."""
        if self.examples.labels is None or self.objective is Objective.FLOAT:
            return None
        hits = self.team.sum(torch.tensor(float(self.hits), dtype=torch.float64))
        return float(hits) / len(self.examples)

    def fingerprint(self) -> str:
        """Spell what a checkpoint must agree with: schedule, objective, examples, layers."""
        shapes = {name: tuple(p.shape) for name, p in self.network.named_parameters()}
        varied = self.examples.augmentation
        return f"{self.schedule} {self.objective} {len(self.examples)} {varied} {shapes}"

    def state(self) -> Checkpoint:
        """Return all that a run needs to go on."""
        return Checkpoint(
            self.fingerprint(),
            self.network.state_dict(),
            self.optimizer.state_dict(),
            self.step,
            tuple(self.records),
            tuple(self.exchange.state()),
        )

    def resume(self, held: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self.network.load_state_dict(held.network)
        self.optimizer.load_state_dict(held.optimizer)
        self.exchange.resume(held.residues[self.team.rank])
        self.step, self.records = held.step, list(held.records)

    def batches(self, epoch: int) -> Iterator[Int64]:
        """Yield the rows of each batch; the order depends on the seed and the epoch alone.

        Batches are as long as each other, or one shorter.
        """
        order = np.random.default_rng((self.schedule.seed, epoch)).permutation(len(self.examples))
        for rows in np.array_split(order, self.steps_an_epoch):
            yield np.sort(rows)

    def set_rate(self, total: int) -> None:
        """Set the learning rate of a step."""
        for group in self.optimizer.param_groups:
            group["lr"] = cosine(self.schedule.learning_rate, self.step, total)

    def train_on(self, model: nn.Module, rows: Int64) -> float:
        """Take one step on a batch; return the loss of this process's part of it.

        The mean of all parts is the loss of the batch. A process without a row takes part with one
        that does not count.
        """
        own = self.team.part(rows)
        share = len(own) * self.team.size / len(rows)
        if not len(own):
            own = rows[:1]
        for _, norm in self.network.normed_layers():
            norm.counted = share > 0
        known = self._known(own, len(self.records))
        loss = self.loss(model(self._sources(known)), known, own, share)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.network.round_updates(self.settings, self.step)
        return float(loss.detach())

    def _known(self, rows: Int64, epoch: int) -> dict[str, Array]:
        """Return what some rows are as an epoch sees them, and what the float network makes."""
        feeds = self.examples.feeds(self.network.graph, rows, epoch)
        return {**self.teacher.arrays(feeds), **feeds}

    def _sources(self, known: Mapping[str, Array]) -> dict[str, Tensor]:
        return {v: self.tensor(known[v]) for v in self.whole.sources}

    def loss(
        self, found: Mapping[str, Tensor], known: Mapping[str, Array], rows: Int64, share: float
    ) -> Tensor:
        """Return the loss of some rows, which count ``share``."""
        parts: list[Tensor] = []
        if self.objective is not Objective.LABELS:
            wanted = {v: self.tensor(known[v]) for v in found}
            spread = spreads(wanted, self.team, counts=share > 0)
            apart = distance(found, wanted, self.schedule.temperature, spread)
            parts.append(apart * share)
        if self.objective is not Objective.FLOAT and self.examples.labels is not None:
            (scores,) = found.values()
            labels = torch.as_tensor(self.examples.labels[rows], device=self.team.device)
            scores = scores.reshape(len(rows), -1)
            apart = functional.cross_entropy(scores, labels)
            self.hits += int((scores.argmax(dim=1) == labels).sum()) if share > 0 else 0
            parts.append(apart * share)
        if self.schedule.clip_decay:
            held = [self.network.quantizer(v).penalty() for v in self.network.quantizer_of]
            parts.append(self.schedule.clip_decay * torch.stack(held).sum())
        return torch.stack(parts).sum()

    def tensor(self, array: Array) -> Tensor:
        """Return an array on the device."""
        held = np.ascontiguousarray(array, np.float32)
        return torch.as_tensor(held, device=self.team.device)
