"""What two processes do in test_distributed.py: torchrun ... two_processes.py FOLDER."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import lowbitc
from lowbitc.training.loop import Trainer
from lowbitc.tuning import taking_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.elements import Array
    from lowbitc.training.distributed import Team

SHORT = lowbitc.Training(epochs=2, batch=32, weights="sawb", device="cpu")
COMPRESSED = dataclasses.replace(SHORT, compress="adacomp", bins=(20, 100), arithmetic="fp4")
# Nothing moves, so that gradients of all steps can be compared. Batches of 23 are halved unevenly,
# and the last of 70 has one example.
STILL = lowbitc.Training(epochs=1, batch=23, weights="sawb", learning_rate=1e-12, device="cpu")


class StopError(Exception):
    """Ends a run in its second epoch."""


def stop_in_second_epoch(step: str, done: int, total: int) -> None:
    """Report progress until it is enough."""
    if step == "train" and done > total // 2 + 1:
        raise StopError


def gradients_of(run: Callable[[], lowbitc.Tuned]) -> dict[str, Array]:
    """Return the gradients of each step of a run, and the loss of its epoch."""
    found: dict[str, Array] = {}
    take = Trainer.train_on

    def train_on(trainer: Trainer, *args: Any) -> float:  # noqa: ANN401 - whatever it takes
        loss = take(trainer, *args)
        for name, parameter in trainer.network.named_parameters():
            if parameter.grad is not None:
                found[f"{trainer.step} {name}"] = parameter.grad.numpy().copy()
        return loss

    Trainer.train_on = train_on  # type: ignore[method-assign]
    try:
        found["loss"] = np.asarray(run().epochs[0].loss)
    finally:
        Trainer.train_on = take  # type: ignore[method-assign]
    return found


def run_all(folder: Path, team: Team) -> dict[str, object]:
    """Run what is tested, and return what it gave."""

    def tuned(training: lowbitc.Training, **given: Any) -> lowbitc.Tuned:  # noqa: ANN401 - as tune
        model = folder / "digits.onnx"
        usual = {"data": folder / "train.npz", "bits": "4/2/2", "threads": 1, "team": team}
        return lowbitc.tune(model, training=training, **{**usual, **given})

    gradients = gradients_of(lambda: tuned(STILL, data=folder / "seventy.npz"))
    if team.lead:
        np.savez(folder / "gradients.npz", **gradients)
    kept = dataclasses.replace(SHORT, checkpoint=folder / "plain.pt")
    plain = [tuned(training).compilation.program for training in (SHORT, kept)]
    whole = tuned(COMPRESSED)
    stopped = dataclasses.replace(COMPRESSED, checkpoint=folder / "run.pt")
    try:
        tuned(stopped, report=stop_in_second_epoch)
    except StopError:
        resumed = tuned(stopped)
    plain[0].save(folder / f"plain{team.rank}.lbc")
    return {
        "plain": [program.digest for program in plain],
        "whole": whole.compilation.program.digest,
        "resumed": resumed.compilation.program.digest,
        "records": [dataclasses.asdict(record) for record in whole.epochs],
        "resumed records": [dataclasses.asdict(record) for record in resumed.epochs],
    }


if __name__ == "__main__":
    place = Path(sys.argv[1])
    with taking_part(SHORT) as together:
        results = run_all(place, together)
        (place / f"results{together.rank}.json").write_text(json.dumps(results), encoding="utf-8")
