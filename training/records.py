"""What a training run tells of itself, an entry an epoch, and its log: JSON, a line an entry."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.replace_file import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lowbitc.compiler.diagnostics import Diagnostic

JOINT = "network"
"""The part that all layers train in together."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What an epoch gave: the mean loss, and the rate it ended with.

    ``accuracy`` is the share of labels that were hit in training, None without labels. ``clip`` is
    the mean over all clips of α / α₀. ``part`` is what was trained: "network", or the output of a
    block that was reconstructed. ``compression`` says how much less was sent than gradients in
    float32, by kind of layer.
    """

    epoch: int
    loss: float
    learning_rate: float
    accuracy: float | None = None
    clip: float = 1.0
    part: str = JOINT
    compression: dict[str, float] = field(default_factory=dict[str, float])


def write_log(path: Path, records: Sequence[EpochRecord]) -> None:
    """Write a log; raises CompileError LB789 where the file cannot be written."""
    lines = [json.dumps(asdict(r), sort_keys=True, ensure_ascii=False) + "\n" for r in records]
    try:
        replace_file(path, [line.encode("utf-8") for line in lines])
    except OSError as problem:
        raise CompileError([_unusable(path, "cannot be written", str(problem))]) from problem


def read_log(path: Path) -> tuple[EpochRecord, ...]:
    """Read a log; raises CompileError LB789 where the file is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return tuple(_record(json.loads(line)) for line in lines if line.strip())
    except (OSError, UnicodeDecodeError, ValueError, TypeError, KeyError) as problem:
        raise CompileError([_unusable(path, "is no training log", str(problem))]) from problem


def _record(held: dict[str, Any]) -> EpochRecord:
    accuracy = held["accuracy"]
    return EpochRecord(
        epoch=int(held["epoch"]),
        loss=float(held["loss"]),
        learning_rate=float(held["learning_rate"]),
        accuracy=None if accuracy is None else float(accuracy),
        clip=float(held["clip"]),
        part=str(held["part"]),
        compression={str(k): float(v) for k, v in held["compression"].items()},
    )


def _unusable(path: Path, what: str, found: str) -> Diagnostic:
    return error(
        "LB789",
        f"the training log {path} {what}",
        found=found.partition("\n")[0],
        allowed="a file that `lowbitc tune --log` wrote",
        hint="check the path, the folder and its permissions",
    )
