"""Checkpoints of a training run, written whole or not at all, and read without unpickling code."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from lowbitc.compiler.diagnostics import CompileError, error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lowbitc.compiler.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What an epoch gave: the mean loss, and the rate it ended with."""

    epoch: int
    loss: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a run between two epochs; ``fingerprint`` says of which run."""

    fingerprint: str
    network: Mapping[str, Any]
    optimizer: dict[str, Any]
    step: int
    records: tuple[EpochRecord, ...]


def save_checkpoint(path: Path, held: Checkpoint) -> None:
    """Write a checkpoint beside ``path``, then put it in its place."""
    whole = {
        "fingerprint": held.fingerprint,
        "network": dict(held.network),
        "optimizer": held.optimizer,
        "step": held.step,
        "records": [asdict(record) for record in held.records],
    }
    part = path.with_name(f".{path.name}.tmp")
    try:
        torch.save(whole, part)
        part.replace(path)
    except OSError as problem:
        part.unlink(missing_ok=True)
        raise CompileError([_unusable(path, "cannot be written", str(problem))]) from problem


def load_checkpoint(path: Path, fingerprint: str) -> Checkpoint:
    """Read a checkpoint of the run with this fingerprint.

    Raises CompileError LB792 where it is none, or of another run.
    """
    try:
        held = torch.load(path, weights_only=True, map_location="cpu")
        found = Checkpoint(
            held["fingerprint"],
            held["network"],
            held["optimizer"],
            held["step"],
            tuple(EpochRecord(**record) for record in held["records"]),
        )
    except (
        OSError,
        KeyError,
        TypeError,
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
    ) as problem:
        raise CompileError([_unusable(path, "is no checkpoint", str(problem))]) from problem
    if found.fingerprint != fingerprint:
        raise CompileError(
            [_unusable(path, "belongs to another run", "another model, data, bits or schedule")]
        )
    return found


def _unusable(path: Path, what: str, found: str) -> Diagnostic:
    return error(
        "LB792",
        f"the checkpoint {path} {what}",
        found=found.partition("\n")[0],
        allowed="a file that this very run wrote",
        hint="give another --checkpoint, or remove the file to start over",
    )
