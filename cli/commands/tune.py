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
@click.option(
    "--data",
    required=True,
    metavar="DATA",
    help="Examples to train on: an .npz, a folder of images, or package.module:function.",
)
@click.option(
    "-o",
    "--output",
    type=options.FILE,
    metavar="OUT.lbc",
    help="Where the program goes; MODEL.tuned.lbc beside the model when left out.",
)
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
    "--toward",
    default="both",
    show_default=True,
    metavar="both|labels|float",
    help="Train toward labels, the float network's outputs, or both; without labels, the float's.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="How often all examples are seen.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    metavar="N",
    help="Examples in each step, of all processes together.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    default=0.01,
    show_default=True,
    metavar="RATE",
    help="Adam's, in levels for weights and in shares of the first value for clips.",
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
    toward: str,
    epochs: int,
    batch: int,
    learning_rate: float,
    clip_decay: float,
    seed: int,
    arithmetic: str,
    chunk: int,
    compress: str,
    bins: tuple[int, int],
    device: str,
    checkpoint: Path | None,
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
    from lowbitc.cli import findings, present, settings
    from lowbitc.cli.made import summary
    from lowbitc.cli.progress import progress
    from lowbitc.tuning import Training, taking_part, tune

    training = Training(
        weights=weights,
        clips=clips,
        toward=toward,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        clip_decay=clip_decay,
        seed=seed,
        arithmetic=arithmetic,
        chunk=chunk,
        compress=compress,
        bins=bins,
        device=device,
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
            )
        if not team.lead:
            return
        made = tuned.compilation
        path = output or model.with_suffix(".tuned.lbc")
        made.program.save(path)
    if settings.current().format == "json":
        present.show_json(
            {**summary(made, path), "diagnostics": made.diagnostics, "epochs": list(tuned.epochs)}
        )
        return
    findings.show_findings(made.diagnostics)
    kinds = tuple(dict.fromkeys(kind for epoch in tuned.epochs for kind in epoch.compression))
    columns = (
        present.Column("epoch", "right"),
        present.Column("loss", "right"),
        *(present.Column(f"{kind} sent", "right") for kind in kinds),
    )
    rows = tuple(
        (str(r.epoch + 1), f"{r.loss:.4f}", *(f"1/{r.compression[k]:.1f}" for k in kinds))
        for r in tuned.epochs
    )
    present.show_table(present.Table(columns, rows))
    click.echo()
    present.show_pairs({k: present.spell(v) for k, v in summary(made, path).items()})


def end_as_another(found: tuple[Diagnostic, ...]) -> None:
    """End this process with the exit code of another that failed, and reports."""
    from lowbitc.cli.exit_codes import exit_code
    from lowbitc.compiler.diagnostics import Severity

    # Nothing else ends a process whose main thread waits for the other.
    os._exit(exit_code(d.code for d in found if d.severity is Severity.ERROR))
