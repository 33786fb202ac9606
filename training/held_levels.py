"""What a quantized network makes of all samples, as far as it has been run."""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lowbitc.compiler.execute import FloatSession
from lowbitc.training.distributed import alone
from lowbitc.training.losses import distance, spreads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.training.blocks import Block
    from lowbitc.training.network import QuantizedNetwork

_AT_ONCE = 64
_LEAST = torch.finfo(torch.float32).tiny


class HeldLevels:
    """Levels of all samples in memory, a byte or two each, and the float network beside them.

    ``feeds`` are the samples as the float graph ``wanted`` takes them. What the CPU makes for the
    chip is the float network's.
    """

    def __init__(
        self,
        network: QuantizedNetwork,
        wanted: Graph,
        feeds: Mapping[str, Array],
        device: torch.device,
        threads: int = 0,
    ) -> None:
        """Quantize what the network is fed."""
        self.network, self.wanted = network, wanted
        self.device, self.threads = device, threads
        self.feeds = {
            v: np.reshape(x, (-1, wanted.shape(v)[0], *x.shape[1:])) for v, x in feeds.items()
        }
        self.count = len(next(iter(self.feeds.values())))
        self.levels: dict[str, Tensor] = {}
        for value, held in self.floats(network.sources).items():
            with torch.no_grad():
                found = network.quantizer(value).levels(held.to(device), half_even=True)
            self.levels[value] = found.to("cpu", torch.int16)

    def floats(self, values: Iterable[str]) -> dict[str, Tensor]:
        """Return the float network's values for all samples, [samples, rows of each, …]."""
        names = tuple(values)
        fetched = [v for v in names if v not in self.feeds]
        found: dict[str, list[Tensor]] = {v: [] for v in names}
        session = FloatSession(self.wanted, fetched, threads=self.threads, fast=True)
        for rows in self.parts():
            feeds = {v: x[rows].reshape(-1, *x.shape[2:]) for v, x in self.feeds.items()}
            made = {**(session.arrays(feeds) if fetched else {}), **feeds}
            for value, parts in found.items():
                parts.append(torch.as_tensor(np.ascontiguousarray(made[value], np.float32)))
        return {value: self._stacked(parts) for value, parts in found.items()}

    def take(self, held: Tensor, rows: Tensor | slice) -> Tensor:
        """Return what is held of some samples as a network has it: float32, on the device."""
        return held[rows].flatten(0, 1).to(self.device, torch.float32)

    def rows(self, values: Iterable[str], rows: Tensor | slice) -> dict[str, Tensor]:
        """Return the levels of some samples."""
        return {v: self.take(self.levels[v], rows) for v in values}

    def sensitivities(self, block: Block, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return, for all samples, how much what a block hands on matters for the results.

        That is the squared gradient of the results' distance to ``wanted`` (BRECQ's diagonal of the
        Fisher matrix), of the network as it is, over its mean.
        """
        network = self.network
        behind = range(block.steps.stop, len(network.steps))
        inside = [v for v in block.exits if not network.leaves(v)]
        found: dict[str, list[Tensor]] = {v: [] for v in inside}
        for rows in self.parts():
            with torch.no_grad():
                levels = network.run_steps(block.steps, self.rows(self.levels, rows))
            for value in inside:
                levels[value].requires_grad_()
            real = network.reals(network.run_steps(behind, levels), network.results)
            targets = {v: self.take(wanted[v], rows) for v in network.results}
            loss = distance(real, targets, 1.0, spreads(targets, alone(), counts=True))
            grads = torch.autograd.grad(loss, [levels[v] for v in inside], materialize_grads=True)
            for value, grad in zip(inside, grads, strict=True):
                found[value].append(grad.square().cpu())
        whole = {value: self._stacked(parts) for value, parts in found.items()}
        return {value: t / t.mean().clamp(min=_LEAST) for value, t in whole.items()}

    def run(self, steps: range) -> None:
        """Run steps on all samples, and forget what no later step reads."""
        network = self.network
        behind = {v for step in network.steps[steps.stop :] for v in step.inputs}
        behind.update(network.results)
        made: dict[str, list[Tensor]] = {}
        for rows in self.parts():
            entries = self.rows(self.levels, rows)
            with torch.no_grad():
                found = network.run_steps(steps, entries)
            for value in behind & (found.keys() - entries.keys()):
                kind = torch.float32 if network.leaves(value) else torch.int16
                made.setdefault(value, []).append(found[value].to("cpu", kind))
        self.levels = {v: t for v, t in self.levels.items() if v in behind}
        self.levels.update({value: self._stacked(parts) for value, parts in made.items()})

    def parts(self) -> Iterator[slice]:
        """Yield ranges of samples that are run at once."""
        for start in range(0, self.count, _AT_ONCE):
            yield slice(start, start + _AT_ONCE)

    def _stacked(self, parts: list[Tensor]) -> Tensor:
        whole = torch.cat(parts)
        return whole.reshape(self.count, -1, *whole.shape[1:])
