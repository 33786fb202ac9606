"""Quantization-aware training: from a float ONNX model and examples to a tuned program."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compilation import (
    Compilation,
    Retraining,
    compile_with,
    input_specs,
    open_stream,
    silent,
)
from lowbitc.compiler.diagnostics import CompileError, error, raise_errors
from lowbitc.compiler.frontend import import_model
from lowbitc.options import settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.options import Options
    from lowbitc.training.checkpoint import EpochRecord
    from lowbitc.training.loop import Examples

WEIGHTS = ("lsq", "sawb", "sawb+", "minmax")
CLIPS = ("pact+", "pact")
TOWARD = ("both", "labels", "float")
ARITHMETIC = ("float", "fp8", "luq", "fp4")
_READ_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Training:
    """How to train; the defaults are those of the command line.

    Learned scales ("lsq") start from weights that are rounded with error feedback, others from
    the float weights. ``weights`` is where the scales of weights come from, ``clips`` what the
    clips of activations learn from, ``toward`` what is minimised (without labels "both" is
    "float"), ``arithmetic`` the format of gradients.
    """

    weights: str = "lsq"
    clips: str = "pact+"
    toward: str = "both"
    epochs: int = 10
    batch: int = 64
    learning_rate: float = 0.01
    clip_decay: float = 0.0
    temperature: float = 1.0
    seed: int = 0
    arithmetic: str = "float"
    checkpoint: Path | None = None

    def __str__(self) -> str:
        """Spell what decides the result, for the program's manifest."""
        held = asdict(self)
        del held["checkpoint"]
        return ", ".join(f"{name} {value}" for name, value in held.items())


@dataclass(frozen=True, slots=True)
class Tuned:
    """A tuned program and its findings, and what each epoch gave."""

    compilation: Compilation
    epochs: tuple[EpochRecord, ...]


def tune(  # noqa: PLR0913 - one argument a setting
    model: str | Path,
    data: DataSource,
    *,
    training: Training | None = None,
    calib: DataSource | None = None,
    bits: str | None = None,
    target: str | None = None,
    config: str | Path | None = None,
    shapes: Sequence[str] = (),
    threads: int = 0,
    report: Report = silent,
) -> Tuned:
    """Train a float model for a number of bits, and compile what was learned.

    ``data`` holds examples, with labels in ``y`` where there are any; clips start from ``calib``,
    or from the first examples. Needs PyTorch. Raises CompileError LB790 without it, LB731 for
    settings that cannot be used, LB791 and LB792 as the pass does.
    """
    options = settle(
        Path(model),
        calib=data if calib is None else calib,
        bits=bits,
        target=target,
        config=None if config is None else Path(config),
        shapes=shapes,
        threads=threads,
    )
    return tune_with(Path(model), data, options, training or Training(), report)


def tune_with(
    model: Path, data: DataSource, options: Options, training: Training, report: Report = silent
) -> Tuned:
    """Train and compile with settled options."""
    if importlib.util.find_spec("torch") is None:
        raise CompileError(
            [
                error(
                    "LB790",
                    "training needs PyTorch",
                    found="no module torch",
                    hint="pip install 'lowbitc[train]'",
                )
            ]
        )
    _check(training)
    from lowbitc.training.arithmetic import Arithmetic  # noqa: PLC0415 - torch, for this alone
    from lowbitc.training.loop import Schedule  # noqa: PLC0415
    from lowbitc.training.losses import Objective  # noqa: PLC0415
    from lowbitc.training.quantizers import WeightMethod  # noqa: PLC0415
    from lowbitc.training.straight_through import ClipGradient  # noqa: PLC0415
    from lowbitc.training.train_weights import TrainWeights  # noqa: PLC0415

    if training.weights != "lsq":
        # Statistics of weights that are rounded already are those of levels, not of weights.
        options = replace(options, weights="mse")
    learn = TrainWeights(
        _read_examples(model, data, options),
        options.bits,
        None,
        WeightMethod(training.weights),
        ClipGradient(training.clips),
        Objective(training.toward),
        Schedule(
            epochs=training.epochs,
            batch=training.batch,
            learning_rate=training.learning_rate,
            clip_decay=training.clip_decay,
            temperature=training.temperature,
            seed=training.seed,
            arithmetic=Arithmetic(training.arithmetic),
        ),
        checkpoint=training.checkpoint,
        threads=options.threads,
        advance=lambda done, total: report("train", done, total),
    )
    made = compile_with(
        model,
        options,
        training=Retraining(lambda rounding: replace(learn, start=rounding), str(training)),
        report=report,
    )
    return Tuned(made, tuple(learn.records))


def _check(training: Training) -> None:
    allowed = {
        "weights": WEIGHTS,
        "clips": CLIPS,
        "toward": TOWARD,
        "arithmetic": ARITHMETIC,
    }
    raise_errors(
        error("LB731", f"unknown {name}", found=getattr(training, name), allowed=", ".join(names))
        for name, names in allowed.items()
        if getattr(training, name) not in names
    )


def _read_examples(model: Path, data: DataSource, options: Options) -> Examples:
    """Read all examples into memory."""
    from lowbitc.training.loop import Examples  # noqa: PLC0415

    graph = import_model(model, shapes=options.shapes).graph
    specs = input_specs(graph)
    dataset = open_stream(graph, data, options.preprocess, options.states)
    batches = tuple(dataset.batches(_READ_AT_ONCE))
    inputs = {
        spec.name: np.concatenate([batch.inputs[spec.name] for batch in batches]) for spec in specs
    }
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return Examples(inputs, np.concatenate(labels).astype(np.int64) if labels else None)
