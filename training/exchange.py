"""How the gradients of one network's processes become one: DistributedDataParallel and AdaComp."""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from lowbitc.compiler.ir import ops
from lowbitc.training.adacomp import Bins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lowbitc.training.distributed import Team
    from lowbitc.training.network import QuantizedNetwork

CONVOLUTIONS, DENSE, ALL = "convolutions", "dense", "all"
_FLOAT_BYTES = 4
_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class AdaComp:
    """The lengths of bins; the paper's are 50 for convolutions and 500 for dense layers."""

    convolutions: int = 50
    dense: int = 500


@dataclass(slots=True)
class Traffic:
    """Bytes of gradients in float32, and bytes that were sent instead."""

    dense: int = 0
    sent: int = 0

    def add(self, values: int, sent: int) -> None:
        """Count a number of values, and the bytes that went out for them."""
        self.dense += values * _FLOAT_BYTES
        self.sent += sent


class Bucket(Protocol):
    """What DistributedDataParallel gives a hook: some parameters, and where their gradients lie."""

    def parameters(self) -> list[Tensor]:
        """Return the parameters."""
        ...

    def gradients(self) -> list[Tensor]:
        """Return a view into the buffer for each."""
        ...

    def buffer(self) -> Tensor:
        """Return all gradients, one behind the other."""
        ...


class Exchange:
    """Averages the gradients of all processes, compressed where ``adacomp`` says how.

    Weights of layers are compressed; biases, clips and scales are not. ``residues`` holds what of
    each weight's gradients this process has not sent yet.
    """

    def __init__(self, network: QuantizedNetwork, team: Team, adacomp: AdaComp | None) -> None:
        """Start without residues."""
        self.network, self.team = network, team
        self.bins: dict[Tensor, Bins] = {}
        self.kinds: dict[Tensor, str] = {}
        self.residues: dict[Tensor, Tensor] = {}
        if adacomp is not None:
            for layer in network.weighted_layers():
                dense = isinstance(layer.chain.compute, ops.Dense)
                weights: Tensor = layer.weights
                length = adacomp.dense if dense else adacomp.convolutions
                self.kinds[weights] = DENSE if dense else CONVOLUTIONS
                self.bins[weights] = Bins(weights.numel(), length)
                self.residues[weights] = torch.zeros_like(weights.detach().reshape(-1))
        self.traffic = {kind: Traffic() for kind in (CONVOLUTIONS, DENSE, ALL)}

    def wrap(self, whole: nn.Module) -> nn.Module:
        """Return what holds the network so that its gradients are averages.

        Gradients are laid out in buckets anew after the first step of a wrapper, and where there
        are more than two processes the layout decides the order of sums. A new wrapper for each
        epoch gives a run that was resumed the same sums.
        """
        if self.team.size == 1:
            return whole
        known = inspect.signature(DistributedDataParallel).parameters
        # Buffers are the same already: gradients are, and all that is kept follows from them.
        syncing = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        options: dict[str, Any] = {syncing: False}
        wrapped = DistributedDataParallel(
            whole, process_group=self.team.gradients, static_graph=True, **options
        )
        if self.bins:
            wrapped.register_comm_hook(None, _as_hook(self.average))
        return wrapped

    def state(self) -> list[dict[str, Tensor]]:
        """Return the residues of each process, by rank and by name of the weights."""
        names = self._names()
        return self.team.gather({names[p]: held.cpu() for p, held in self.residues.items()})

    def resume(self, held: Mapping[str, Tensor]) -> None:
        """Take up this process's residues."""
        names = self._names()
        for parameter, residue in self.residues.items():
            residue.copy_(held[names[parameter]])

    def _names(self) -> dict[Tensor, str]:
        return {parameter: name for name, parameter in self.network.named_parameters()}

    def ratios(self) -> dict[str, float]:
        """Return how much less was sent than in float32, and count anew.

        Kinds of layers count their own bytes; "all" is what went onto the wire for all gradients,
        with lengths, padding, and what is not compressed.
        """
        kinds = [kind for kind, traffic in self.traffic.items() if traffic.sent]
        counted = torch.tensor([[self.traffic[k].dense, self.traffic[k].sent] for k in kinds])
        self.traffic = {kind: Traffic() for kind in self.traffic}
        if not kinds:
            return {}
        total = cast("list[list[int]]", self.team.sum(counted).tolist())
        return {kind: dense / sent for kind, (dense, sent) in zip(kinds, total, strict=True)}

    def average(self, bucket: Bucket) -> torch.futures.Future[Tensor]:
        """Put averages of all processes in the place of a bucket's gradients: the hook of DDP."""
        pairs = list(zip(bucket.parameters(), bucket.gradients(), strict=True))
        self._average_plain([grad for parameter, grad in pairs if parameter not in self.bins])
        self._average_compressed([pair for pair in pairs if pair[0] in self.bins])
        done: torch.futures.Future[Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    def _average_plain(self, grads: list[Tensor]) -> None:
        if not grads:
            return
        flat = torch.cat([grad.reshape(-1) for grad in grads]) / self.team.size
        dist.all_reduce(flat, group=self.team.gradients)
        self.traffic[ALL].add(len(flat), len(flat) * _FLOAT_BYTES)
        start = 0
        for grad in grads:
            grad.copy_(flat[start : start + grad.numel()].reshape(grad.shape))
            start += grad.numel()

    def _average_compressed(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        if not pairs:
            return
        packed: list[Tensor] = []
        for parameter, grad in pairs:
            bins = self.bins[parameter]
            packed.append(bins.pack(bins.choose(grad.reshape(-1), self.residues[parameter])))
            self.traffic[self.kinds[parameter]].add(bins.size, len(packed[-1]))
        received = self._swap(torch.cat(packed), sum(p.numel() for p, _ in pairs))
        totals = [torch.zeros_like(self.residues[parameter]) for parameter, _ in pairs]
        # Each process adds in the same order, so that all get the same sums.
        for data in received:
            start = 0
            for number, (parameter, _) in enumerate(pairs):
                found, taken = self.bins[parameter].unpack(data[start:])
                totals[number] += found
                start += taken
        for (_, grad), total in zip(pairs, totals, strict=True):
            grad.copy_((total / self.team.size).reshape(grad.shape))

    def _swap(self, own: Tensor, values: int) -> list[Tensor]:
        """Give all processes what each has to say; ``values`` is of how many gradients."""
        group, size = self.team.gradients, self.team.size
        lengths = [torch.zeros(1, dtype=torch.int64, device=own.device) for _ in range(size)]
        dist.all_gather(lengths, torch.tensor([len(own)], device=own.device), group=group)
        longest = max(int(length) for length in lengths)
        parts = [torch.zeros(longest, dtype=torch.uint8, device=own.device) for _ in range(size)]
        dist.all_gather(parts, nn.functional.pad(own, (0, longest - len(own))), group=group)
        self.traffic[ALL].add(values, longest + _LENGTH_BYTES)
        return [part[: int(n)] for part, n in zip(parts, lengths, strict=True)]


def _as_hook(average: Callable[[Bucket], object]) -> Callable[[object, Bucket], object]:
    """Return a hook whose types DistributedDataParallel does not see: it wants its own class."""
    return lambda _state, bucket: average(bucket)
