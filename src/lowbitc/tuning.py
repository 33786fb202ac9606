"""Quantization-aware training: from a float ONNX model and examples to a tuned program."""

from __future__ import annotations

import contextlib
import importlib.util
import os
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
from lowbitc.compiler.datasets.opening import open_dataset
from lowbitc.compiler.datasets.stream import InputSpec
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error, raise_errors
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.states import without_states
from lowbitc.evaluation import preprocess_of
from lowbitc.options import settle

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.options import Options
    from lowbitc.targets.program.program import Program
    from lowbitc.training.agreement import Agreement
    from lowbitc.training.distributed import Team
    from lowbitc.training.examples import Examples
    from lowbitc.training.failures import Ending
    from lowbitc.training.records import EpochRecord
    from lowbitc.training.train_weights import Start, TrainWeights

WEIGHTS = ("lsq", "sawb", "sawb+", "minmax")
CLIPS = ("pact+", "pact")
TOWARD = ("both", "labels", "float")
ARITHMETIC = ("float", "fp8", "luq", "fp4")
COMPRESS = ("none", "adacomp")
NORMS = ("batch", "none")
DEVICES = ("auto", "cpu", "cuda")
_READ_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Training:
    """How to train; the defaults are those of the command line.

    Learned scales ("lsq") start from weights that are rounded with error feedback, others from
    the float weights. ``weights`` is where the scales of weights come from, ``clips`` what the
    clips of activations learn from, ``toward`` what is minimised (without labels "both" is
    "float"), ``arithmetic`` that of the two backward products; in "fp8" ``chunk`` products are
    added before their sum is, 0 adds all in one go. ``batch`` is that of all processes that train
    together; ``compress`` is how gradients go between them, ``bins`` AdaComp's bins of convolutions
    and of dense layers. With ``reconstruct``, one block after the other is trained first, so many
    epochs each, toward the float network's values. Images may ``flip`` and ``shift`` by pixels.
    With ``norm`` "batch" the sums of layers are normed by batch while they train.
    """

    weights: str = "lsq"
    clips: str = "pact+"
    toward: str = "both"
    epochs: int = 10
    batch: int = 64
    learning_rate: float = 0.02
    clip_decay: float = 0.0
    temperature: float = 1.0
    seed: int = 0
    arithmetic: str = "float"
    chunk: int = 64
    compress: str = "none"
    bins: tuple[int, int] = (50, 500)
    device: str = "auto"
    reconstruct: int = 0
    block_rate: float = 0.02
    flip: bool = False
    shift: int = 0
    norm: str = "batch"
    checkpoint: Path | None = None

    def __str__(self) -> str:
        """Spell what decides the result, for the program's manifest."""
        held = asdict(self)
        del held["checkpoint"], held["device"]
        if self.compress == "none":
            del held["compress"], held["bins"]
        if not self.reconstruct:
            del held["reconstruct"], held["block_rate"]
        return ", ".join(f"{name} {value}" for name, value in held.items())


@dataclass(frozen=True, slots=True)
class Test:
    """What the trained network and its program are compared on: the first ``limit`` samples."""

    data: DataSource
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """A tuned program and its findings, and what each epoch gave.

    ``agreement`` holds the trained network and the program against each other on test data, where
    there are any.
    """

    compilation: Compilation
    epochs: tuple[EpochRecord, ...]
    agreement: Agreement | None = None


def reconstruction() -> Training:
    """Return settings for few samples without labels: block by block, then all together."""
    return Training(toward="float", epochs=20, batch=32, reconstruct=20)


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
    team: Team | None = None,
    test: DataSource | None = None,
    limit: int | None = None,
) -> Tuned:
    """Train a float model for a number of bits, and compile what was learned.

    ``data`` holds examples, with labels in ``y`` where there are any; clips start from ``calib``,
    or from the first examples. ``test`` is what training and the program are compared on, or its
    first ``limit`` samples. Under torchrun all processes train together, as ``team`` says or as
    the environment does, and all get the same result. Needs PyTorch. Raises CompileError LB790
    without it, LB731 for settings that cannot be used, LB791, LB792 and LB795 as the pass does,
    LB796 and LB797 as ``taking_part`` does.
    """
    chosen = training or Training()
    with contextlib.ExitStack() as stack:
        held = team or stack.enter_context(taking_part(chosen))
        options = settle(
            Path(model),
            calib=data if calib is None else calib,
            bits=bits,
            target=target,
            config=config,
            shapes=shapes,
            threads=threads,
        )
        tested = None if test is None else Test(test, limit)
        return _tune_with(Path(model), data, options, chosen, report, held, tested)


def _leave(_found: tuple[Diagnostic, ...]) -> None:
    """End as a process does that an exception ended."""
    os._exit(1)


@contextlib.contextmanager
def taking_part(training: Training, end: Ending = _leave) -> Generator[Team]:
    """Take part in the training run that the environment names, as torchrun sets it.

    Where another process fails, ``end`` is called with its findings, in a thread, and must end this
    one. Raises CompileError LB790 without PyTorch, LB731 for settings that cannot be used, LB796
    where the other processes cannot be reached or one is gone, LB797 where there is no CUDA.
    """
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
    # What torch's sockets say of a process that is gone, with traces, is said once and by LB796.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from lowbitc.training.distributed import join  # noqa: PLC0415 - torch, for this alone

    with join(training.device, end) as team:
        _check(training, team)
        yield team


def _tune_with(
    model: Path,
    data: DataSource,
    options: Options,
    training: Training,
    report: Report,
    team: Team,
    test: Test | None,
) -> Tuned:
    """Train with settled options; the lead compiles, the others train when it does."""
    learn = _pass(model, data, options, training, report, team)
    while not team.lead:
        told: Tuned | Start = team.share(None)
        if isinstance(told, Tuned):
            return told
        learn.train(told)
    if training.weights != "lsq":
        # Statistics of weights that are rounded already are those of levels, not of weights.
        options = replace(options, weights="mse")
    spelled = f"{training}, processes {team.size}" if team.size > 1 else str(training)
    made = compile_with(
        model,
        options,
        training=Retraining(lambda rounding: replace(learn, start=rounding), spelled),
        report=report,
    )
    agreement = None
    if test is not None:
        agreement = _compare(learn, made.program, test, report)
    if agreement is not None:
        from lowbitc.training.agreement import disagreement  # noqa: PLC0415 - torch

        found = disagreement(agreement)
        made = replace(made, diagnostics=(*made.diagnostics, *found))
    return team.share(Tuned(made, tuple(learn.outcome.records), agreement))


def _compare(learn: TrainWeights, program: Program, test: Test, report: Report) -> Agreement | None:
    """Run the trained network and its program on test data."""
    specs = [InputSpec(p.name, p.shape or (), p.element) for p in program.inputs]
    dataset = open_dataset(test.data, without_states(specs, program.states), preprocess_of(program))
    count = min(len(dataset), test.limit or len(dataset))
    return learn.compare(
        program, dataset, count, lambda done, total: report("compare with training", done, total)
    )


def _pass(
    model: Path,
    data: DataSource,
    options: Options,
    training: Training,
    report: Report,
    team: Team,
) -> TrainWeights:
    """Make the pass that trains."""
    from lowbitc.training.arithmetic import Arithmetic  # noqa: PLC0415 - torch, for this alone
    from lowbitc.training.exchange import AdaComp  # noqa: PLC0415
    from lowbitc.training.loop import Schedule  # noqa: PLC0415
    from lowbitc.training.losses import Objective  # noqa: PLC0415
    from lowbitc.training.quantizers import WeightMethod  # noqa: PLC0415
    from lowbitc.training.straight_through import ClipGradient  # noqa: PLC0415
    from lowbitc.training.train_weights import TrainWeights  # noqa: PLC0415

    return TrainWeights(
        _read_examples(model, data, options, training),
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
            chunk=training.chunk,
            compression=AdaComp(*training.bins) if training.compress == "adacomp" else None,
            reconstruct=training.reconstruct,
            block_rate=training.block_rate,
            normalize=training.norm == "batch",
        ),
        team=team,
        checkpoint=training.checkpoint,
        threads=options.threads,
        advance=report,
    )


def _check(training: Training, team: Team) -> None:
    allowed = {
        "weights": WEIGHTS,
        "clips": CLIPS,
        "toward": TOWARD,
        "arithmetic": ARITHMETIC,
        "compress": COMPRESS,
        "norm": NORMS,
        "device": DEVICES,
    }
    raise_errors(
        error("LB731", f"unknown {name}", found=getattr(training, name), allowed=", ".join(names))
        for name, names in allowed.items()
        if getattr(training, name) not in names
    )
    if training.compress != "none" and team.size == 1:
        raise_errors(
            [
                error(
                    "LB731",
                    "there is nobody to send compressed gradients to",
                    found=f"compress {training.compress} in a single process",
                    allowed="two processes or more",
                    hint="torchrun --nproc-per-node 2 -m lowbitc tune ...",
                )
            ]
        )
    if min(training.bins) < 1:
        raise_errors(
            [
                error(
                    "LB731",
                    "bins hold one gradient at least",
                    found="/".join(map(str, training.bins)),
                    allowed="two whole numbers from 1 on",
                )
            ]
        )


def _read_examples(model: Path, data: DataSource, options: Options, training: Training) -> Examples:
    """Read all examples into memory."""
    from lowbitc.training.examples import Augmentation, Examples  # noqa: PLC0415

    graph = import_model(model, shapes=options.shapes).graph
    specs = input_specs(graph)
    dataset = open_stream(graph, data, options.preprocess, options.states)
    batches = tuple(dataset.batches(_READ_AT_ONCE))
    inputs = {
        spec.name: np.concatenate([batch.inputs[spec.name] for batch in batches]) for spec in specs
    }
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return Examples(
        inputs,
        np.concatenate(labels).astype(np.int64) if labels else None,
        Augmentation(training.flip, training.shift, training.seed),
    )
