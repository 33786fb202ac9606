"""The processes that train one network together: what each takes, and what they tell each other."""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor
from torch import distributed as dist

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.training.failures import Failures, lost_process

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from torch.distributed.distributed_c10d import Store

    from lowbitc.compiler.elements import Int64
    from lowbitc.training.failures import Ending

    Held = TypeVar("Held")

_PATIENCE = timedelta(hours=12)
"""The first process calibrates and compiles while others wait; one that died is noticed at once."""


@dataclass(frozen=True, slots=True)
class Team:
    """One process's place among those that train together; alone, it is the only one.

    The lead is rank 0: it compiles, reads and writes files, and reports. ``here`` is the number of
    processes on this machine. ``gradients`` is the group that sums gradients, on the device.
    """

    device: torch.device
    rank: int = 0
    size: int = 1
    here: int = 1
    gradients: dist.ProcessGroup | None = None

    @property
    def lead(self) -> bool:
        """Whether this process is the first."""
        return self.rank == 0

    def share(self, held: Held | None) -> Held:
        """Return what the lead holds, in all processes."""
        if self.size == 1:
            return cast("Held", held)
        box: list[Held | None] = [held]
        dist.broadcast_object_list(box)
        return cast("Held", box[0])

    def gather(self, held: Held) -> list[Held]:
        """Return what each process holds, by rank, in all processes."""
        if self.size == 1:
            return [held]
        box: list[Held | None] = [None] * self.size
        dist.all_gather_object(box, held)
        return cast("list[Held]", box)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of small tensors of all processes, which is the same in each of them."""
        if self.size == 1:
            return values
        found = values.detach().cpu().clone()
        dist.all_reduce(found)
        return found.to(values)

    def largest(self, value: float) -> float:
        """Return the largest of the numbers of all processes."""
        if self.size == 1:
            return value
        found = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return float(found)

    def part(self, rows: Int64) -> Int64:
        """Return this process's rows of a batch."""
        return rows[self.rank :: self.size]

    @contextlib.contextmanager
    def threads(self, wanted: int) -> Generator[int]:
        """Let torch use a number of threads, and give it; 0 is this process's share of the cores.

        Alone, torch's own number stands where 0 is wanted.
        """
        before = torch.get_num_threads()
        share = 0 if self.size == 1 else max(1, (os.cpu_count() or 1) // self.here)
        chosen = wanted or share
        torch.set_num_threads(chosen or before)
        try:
            yield chosen
        finally:
            torch.set_num_threads(before)


def alone() -> Team:
    """Return a process that trains alone, on the processor."""
    return Team(torch.device("cpu"))


@contextlib.contextmanager
def join(device: str, end: Ending) -> Generator[Team]:
    """Take part in the run that the environment names, as torchrun sets it; else be alone.

    Where a process fails, all do: the first to fail raises what stopped it, and in each of the
    others ``end`` is called with its findings. Raises CompileError LB796 where the others cannot
    be reached or one is gone, LB797 where there is no such device.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(_ready(choose_device(device, 1), 0))
        return
    try:
        store = _connect()
    except (RuntimeError, ValueError, KeyError) as problem:
        raise CompileError([lost_process(str(problem))]) from problem
    here = int(os.environ.get("LOCAL_WORLD_SIZE", str(size)))
    rank, local_rank = dist.get_rank(), int(os.environ.get("LOCAL_RANK", "0"))
    try:
        with Failures(store, rank, size, end).reported():
            chosen = choose_device(device, here)
            kinds: list[str | None] = [None] * size
            dist.all_gather_object(kinds, chosen)
            if len(set(kinds)) > 1:  # "auto", on machines that are not alike
                chosen = "cpu"
            # NCCL sums gradients on the devices; all else goes through gloo.
            sums = dist.new_group(backend="nccl") if chosen == "cuda" else dist.group.WORLD
            group = cast("dist.ProcessGroup", sums)
            yield Team(_ready(chosen, local_rank), rank, size, here, group)
            dist.barrier()
    finally:
        dist.destroy_process_group()


def _connect() -> Store:
    """Meet the other processes; return a connection of our own to their store."""
    dist.init_process_group("gloo", timeout=_PATIENCE)
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    connect = cast("Callable[..., Store]", getattr(dist, "TCPStore"))  # noqa: B009 - half typed
    return connect(host, port, is_master=False, wait_for_workers=False)


def choose_device(wanted: str, here: int) -> str:
    """Return the kind of device that ``here`` processes of one machine use, each its own.

    "auto" is CUDA where there are enough. Raises CompileError LB797 where "cuda" is wanted and
    there are not.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count < here and wanted == "cuda":
        raise CompileError(
            [
                error(
                    "LB797",
                    "there is no CUDA device for each process",
                    found=f"{count} CUDA devices, PyTorch {torch.__version__}",
                    allowed=f"at least {here} on this machine",
                    hint="train on the processor: --device cpu",
                )
            ]
        )
    return "cuda" if count >= here and wanted != "cpu" else "cpu"


def _ready(kind: str, local_rank: int) -> torch.device:
    """Return a device, set so that its sums are as precise as the processor's."""
    if kind == "cpu":
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
