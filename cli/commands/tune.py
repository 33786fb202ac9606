"""``lowbitc tune``: quantization-aware training, then compilation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.compiler.diagnostics import Diagnostic


@click.command("tune")
@options.model_argument()
@options.data_option(
    "Examples to train on: an .npz, a folder of images, or package.module:function."
)
@options.output_option("Where the program goes; MODEL.tuned.lbc beside the model when left out.")
@click.option(
    "--calib",
    metavar="DATA",
    help="Samples that the clips start from; the first examples when left out.",
)
@options.bits_option()
@click.option(
    "--weights",
    default="lsq",
    show_default=True,
    metavar="lsq|sawb|sawb+|minmax",
    help="Where scales of weights come from: learned, or SAWB's statistics at each step.",
)
@click.option(
    "--clips",
    default="pact+",
    show_default=True,
    metavar="pact+|pact",
    help="What clips learn from: values inside and beyond them, or beyond alone.",
)
@click.option(
    "--norm",
    default="batch",
    show_default=True,
    metavar="batch|none",
    help="Whether batches norm the sums of layers in training; at its end statistics are taken "
    "anew, and folded.",
)
@click.option(
    "--toward",
    metavar="both|labels|float",
    help="Train toward labels, the float network's outputs, or both, the default; without labels "
    "or with --reconstruct, the float's.",
)
@click.option(
    "--reconstruct",
    is_flag=True,
    help="For a few hundred samples without labels: first one block after the other learns to "
    "give the float network's values.",
)
@click.option(
    "--flip",
    is_flag=True,
    help="Mirror every other image, left to right.",
)
@click.option(
    "--shift",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="PIXELS",
    help="Move images by up to so many pixels.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    metavar="N",
    help="How often all examples are seen; 10, or 20 with --reconstruct.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="N",
    help="Examples in each step, of all processes together; 64, or 32 with --reconstruct.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATE",
    help="Adam's, in levels for weights and in shares of the first value for clips; 0.02.",
)
@click.option(
    "--clip-decay",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="RATE",
    help="PACT's L2 decay of the clips.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Decides the order of the examples.",
)
@click.option(
    "--arithmetic",
    default="float",
    show_default=True,
    metavar="float|fp8|luq|fp4",
    help="The arithmetic of the backward products, simulated.",
)
@click.option(
    "--chunk",
    type=click.IntRange(min=0),
    default=64,
    show_default=True,
    metavar="N",
    help="In fp8, products added before their sum is; 0 adds all in one go.",
)
@click.option(
    "--compress",
    default="none",
    show_default=True,
    metavar="none|adacomp",
    help="What processes send each other: gradients, or AdaComp's few.",
)
@click.option(
    "--bins",
    type=(click.IntRange(min=1), click.IntRange(min=1)),
    default=(50, 500),
    show_default=True,
    metavar="CONV DENSE",
    help="How many gradients of convolutions, and of dense layers, an AdaComp bin holds.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda",
    help="Where to train; auto is CUDA where there is one for each process.",
)
@click.option(
    "--checkpoint",
    type=options.FILE,
    metavar="FILE",
    help="Written after each epoch; a run that finds its own goes on from there.",
)
@click.option(
    "--test",
    metavar="DATA",
    help="Samples to run through the trained network and the program: accuracy of both, and how "
    "many levels and predicted classes differ.",
)
@options.limit_option()
@click.option(
    "--log",
    type=options.FILE,
    metavar="OUT.jsonl",
    help="Write what each epoch gave: JSON, a line an epoch.",
)
@options.report_option()
@options.target_option()
@options.config_option()
@options.shape_option()
@options.threads_option(
    "Threads to use; 0 is one a core. Sums of gradients round differently with another number."
)
@options.format_option()
def command(  # noqa: PLR0913 - one a setting
    model: Path,
    *,
    data: str,
    output: Path | None,
    calib: str | None,
    bits: str | None,
    weights: str,
    clips: str,
    norm: str,
    toward: str | None,
    reconstruct: bool,
    flip: bool,
    shift: int,
    epochs: int | None,
    batch: int | None,
    learning_rate: float | None,
    clip_decay: float,
    seed: int,
    arithmetic: str,
    chunk: int,
    compress: str,
    bins: tuple[int, int],
    device: str,
    checkpoint: Path | None,
    test: str | None,
    limit: int | None,
    log: Path | None,
    page: Path | None,
    target: str | None,
    config: Path | None,
    shapes: tuple[str, ...],
    threads: int,
) -> None:
    """Train a float model for a number of bits, then compile it.

    Weights, clips and biases learn what the chip will compute: the forward pass of training has
    the chip's own levels. Needs PyTorch: pip install 'lowbitc[train]'. On several processes:
    torchrun --nproc-per-node 2 -m lowbitc tune MODEL.onnx ...
    """
    from dataclasses import replace

    from lowbitc.cli import findings, present, settings
    from lowbitc.cli.made import summary
    from lowbitc.cli.progress import progress
    from lowbitc.cli.report.writing import write_tuned
    from lowbitc.cli.trained import show_agreement, show_epochs
    from lowbitc.simulation import simulate
    from lowbitc.training.records import write_log
    from lowbitc.tuning import Training, reconstruction, taking_part, tune

    base = reconstruction() if reconstruct else Training()
    training = replace(
        base,
        weights=weights,
        clips=clips,
        norm=norm,
        toward=toward or base.toward,
        epochs=epochs or base.epochs,
        batch=batch or base.batch,
        learning_rate=learning_rate or base.learning_rate,
        clip_decay=clip_decay,
        seed=seed,
        arithmetic=arithmetic,
        chunk=chunk,
        compress=compress,
        bins=bins,
        device=device,
        flip=flip,
        shift=shift,
        checkpoint=checkpoint,
    )
    with taking_part(training, end_as_another) as team:
        with progress(shown=team.lead) as told:
            tuned = tune(
                model,
                data,
                training=training,
                calib=calib,
                bits=bits,
                target=target,
                config=config,
                shapes=shapes,
                threads=threads,
                report=told,
                team=team,
                test=test,
                limit=limit,
            )
            if team.lead and page is not None:
                found = None
                if test is not None:
                    found = simulate(
                        tuned.compilation.program, test, limit=limit, threads=threads, report=told
                    )
                write_tuned(page, tuned, model.stem, test, found, threads=threads, report=told)
        if not team.lead:
            return
        made = tuned.compilation
        path = output or model.with_suffix(".tuned.lbc")
        made.program.save(path)
        if log is not None:
            write_log(log, tuned.epochs)
    if settings.current().format == "json":
        present.show_json(
            {
                **summary(made, path),
                "diagnostics": made.diagnostics,
                "epochs": list(tuned.epochs),
                "agreement": tuned.agreement,
            }
        )
        return
    findings.show_findings(made.diagnostics)
    show_epochs(tuned.epochs)
    if tuned.agreement is not None:
        show_agreement(tuned.agreement)
    present.show_pairs({k: present.spell(v) for k, v in summary(made, path).items()})


def end_as_another(found: tuple[Diagnostic, ...]) -> None:
    """End this process with the exit code of another that failed, and reports."""
    from lowbitc.cli.exit_codes import exit_code
    from lowbitc.compiler.diagnostics import Severity

    # Nothing else ends a process whose main thread waits for the other.
    os._exit(exit_code(d.code for d in found if d.severity is Severity.ERROR))
