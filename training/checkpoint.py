"""Checkpoints of a training run, written whole or not at all, and read without unpickling code."""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.replace_file import replace_file
from lowbitc.training.records import EpochRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lowbitc.compiler.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a run between two epochs; ``fingerprint`` says of which run.

    ``residues`` are the gradients that each process has not sent yet, by rank.
    """

    fingerprint: str
    network: Mapping[str, Any]
    optimizer: dict[str, Any]
    step: int
    records: tuple[EpochRecord, ...]
    residues: tuple[Mapping[str, Any], ...] = ({},)


def save_checkpoint(path: Path, held: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all."""
    whole = {
        "fingerprint": held.fingerprint,
        "network": dict(held.network),
        "optimizer": held.optimizer,
        "step": held.step,
        "records": [asdict(record) for record in held.records],
        "residues": [dict(residues) for residues in held.residues],
    }
    spelled = io.BytesIO()
    torch.save(whole, spelled)
    try:
        replace_file(path, [spelled.getbuffer()])
    except OSError as problem:
        raise CompileError([_unusable(path, "cannot be written", str(problem))]) from problem


def load_checkpoint(path: Path, fingerprint: str, processes: int = 1) -> Checkpoint:
    """Read a checkpoint of the run with this fingerprint and number of processes.

    Raises CompileError LB792 where it is none, or of another run, LB795 where another number of
    processes wrote it.
    """
    try:
        held = torch.load(path, weights_only=True, map_location="cpu")
        found = Checkpoint(
            held["fingerprint"],
            held["network"],
            held["optimizer"],
            held["step"],
            tuple(EpochRecord(**record) for record in held["records"]),
            tuple(held["residues"]),
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
    if len(found.residues) != processes:
        raise CompileError([_other_processes(path, len(found.residues), processes)])
    return found


def _other_processes(path: Path, held: int, processes: int) -> Diagnostic:
    again = "without torchrun" if held == 1 else f"with torchrun on {held} processes"
    return error(
        "LB795",
        f"the checkpoint {path} is of another number of processes",
        found=f"{held} wrote it, and {processes} would go on",
        allowed="as many as wrote it",
        hint=f"go on {again}, give another --checkpoint, or remove the file to start over",
    )


def _unusable(path: Path, what: str, found: str) -> Diagnostic:
    return error(
        "LB792",
        f"the checkpoint {path} {what}",
        found=found.partition("\n")[0],
        allowed="a file that this very run wrote",
        hint="give another --checkpoint, or remove the file to start over",
    )
