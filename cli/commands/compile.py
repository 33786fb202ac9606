"""``lowbitc compile``: from a float ONNX model to a program for the chip."""

from __future__ import annotations

import click

from lowbitc.cli import options


@click.command("compile")
@options.model_argument()
@click.option(
    "-o",
    "--output",
    type=options.FILE,
    metavar="OUT.lbc",
    help="Where the program goes; beside the model when left out.",
)
@click.option(
    "--calib",
    metavar="DATA",
    help="Samples to calibrate on: an .npz, a folder of images, or package.module:function. "
    "Labels are ignored.",
)
@click.option(
    "--bits",
    metavar="A/B/C",
    help="Bits of the first layer's weights, of the others' weights, and of activations, each 1, "
    "2, 4 or 8: 8/4/4.",
)
@options.target_option()
@options.config_option()
@options.shape_option()
@click.option(
    "--clip",
    type=click.Choice(("mse", "percentile", "minmax")),
    help="How an activation's clip is chosen; mse when left out.",
)
@click.option(
    "--weights",
    type=click.Choice(("sawb", "mse")),
    help="How a weight's scale is chosen; mse when left out.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    metavar="N",
    help="Calibrate on the first N samples.",
)
@options.threads_option()
@click.option(
    "--verify-numerics",
    is_flag=True,
    help="Run the graph before and after each pass on a sample, and compare.",
)
@click.option("--timings", is_flag=True, help="Say how long each pass took.")
@click.option("--dump-after", metavar="PASS", help="Print the graph after this pass.")
@options.format_option()
def command(**_options: object) -> None:
    """Compile a float ONNX model into a program for the chip.

    Without --calib, samples come from MODEL.calib.npz or lowbitc.toml beside the model; if there
    are none, ranges come from the batch-norm statistics and the weights, which costs accuracy.
    """
    raise click.UsageError("compile is not wired up yet")
