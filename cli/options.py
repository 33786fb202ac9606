"""Options and arguments that several commands share."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.types import StringParamType

from lowbitc.cli import settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

# Whether a file exists and can be read is found by its reader, whose findings have codes.
FILE = click.Path(path_type=Path)


class _Data(StringParamType):
    """Where samples come from, as it is spelled; its reader finds what is wrong with it."""

    def get_missing_message(
        self,
        param: click.Parameter,  # noqa: ARG002 - click's signature
        ctx: click.Context | None = None,  # noqa: ARG002 - click 8.1 does not give it
    ) -> str:
        """Say what the option takes."""
        return (
            "It takes an .npz (arrays named like the model's inputs, or x; labels, if any, in y), "
            "a folder of images (labels: one subfolder a class), or package.module:function."
        )


def model_argument() -> Decorator:
    """Take the float ONNX model."""
    return click.argument("model", type=FILE, metavar="MODEL.onnx")


def program_argument() -> Decorator:
    """Take a compiled program."""
    return click.argument("program", type=FILE, metavar="PROGRAM.lbc")


def data_option(
    text: str = "An .npz, a folder of images with one subfolder a class, or "
    "package.module:function.",
) -> Decorator:
    """Take the samples that a command cannot do without."""
    return click.option("--data", type=_Data(), required=True, metavar="DATA", help=text)


def output_option(text: str, *, required: bool = False) -> Decorator:
    """Take where a program goes."""
    return click.option(
        "-o",
        "--output",
        type=FILE,
        required=required,
        metavar="OUT.lbc",
        help=text,
    )


def engine_option() -> Decorator:
    """Take what simulates the chip."""
    return click.option(
        "--engine",
        type=click.Choice(("fast", "reference", "event")),
        default="fast",
        show_default=True,
        help="What simulates the chip; all give the same bits.",
    )


def limit_option() -> Decorator:
    """Take an upper bound on the number of samples."""
    return click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        help="Use the first N samples only.",
    )


def threads_option(
    text: str = "Threads to use; 0 is one a core. Results do not depend on it.",
) -> Decorator:
    """Take the number of threads."""
    return click.option(
        "--threads",
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help=text,
    )


def target_option() -> Decorator:
    """Take the name of a chip."""
    return click.option(
        "--target",
        metavar="NAME",
        help="The chip, lb1 unless lowbitc.toml names another; `lowbitc targets` lists them.",
    )


def shape_option() -> Decorator:
    """Take shapes of inputs, as they are spelled."""
    return click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="NAME=D,D,...",
        help="An input's shape where the model leaves it open, as x=N,3,224,224; repeatable.",
    )


def state_option() -> Decorator:
    """Take the inputs that outputs of the sample before feed."""
    return click.option(
        "--state",
        "states",
        multiple=True,
        metavar="INPUT=OUTPUT",
        help="Feed an output to an input of the next sample, as h=hn, from zeros on; repeatable.",
    )


def offload_option() -> Decorator:
    """Take how much of what the chip can run it does run."""
    return click.option(
        "--offload",
        metavar="paying|all",
        help="Run on the chip what pays for its launches, the default, or all that it can run.",
    )


def config_option() -> Decorator:
    """Take the configuration file."""
    return click.option(
        "--config",
        type=FILE,
        metavar="FILE",
        help="Settings to use; lowbitc.toml beside the model when left out.",
    )


def bits_option() -> Decorator:
    """Take the bits of a network."""
    return click.option(
        "--bits",
        metavar="A/B/C",
        help="Bits of the first layer's weights, of the others' weights, and of activations, "
        "each 1, 2, 4 or 8; 8/8/8 when left out.",
    )


def compile_options() -> Decorator:
    """Take what settles a compilation."""
    decorators = (
        click.option(
            "--calib",
            metavar="DATA",
            help="Samples to calibrate on: an .npz, a folder of images, or "
            "package.module:function. Labels are ignored.",
        ),
        bits_option(),
        target_option(),
        config_option(),
        shape_option(),
        click.option(
            "--clip",
            metavar="mse|octav|percentile|minmax",
            help="How an activation's clip is chosen; mse when left out.",
        ),
        click.option(
            "--weights",
            metavar="mse|sawb|feedback",
            help="How weights are rounded: at the scale of least squared error, by SAWB, or layer "
            "by layer with error feedback, the default below 8 bits where there is data.",
        ),
        offload_option(),
        state_option(),
        click.option(
            "--mode",
            metavar="passes|minimal|fast",
            help="How layers get processors: in as many passes as are needed, the default; the "
            "fewest in one pass; or one pass with those that are left for the slowest layers.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(min=1),
            metavar="N",
            help="Calibrate on the first N samples; 512 when left out.",
        ),
        threads_option(),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        # The last decorator applied is the first option that help lists.
        return functools.reduce(lambda made, add: add(made), reversed(decorators), command)

    return decorate


def search_options() -> Decorator:
    """Take the bounds of a search for bits."""
    decorators = (
        click.option(
            "--max-drop",
            type=float,
            metavar="SHARE",
            help="With --bits auto: lose at most this, 0.01 being one point of accuracy.",
        ),
        click.option(
            "--max-size",
            type=click.IntRange(min=1),
            metavar="BYTES",
            help="With --bits auto: a program of at most so many bytes.",
        ),
        click.option(
            "--max-energy",
            type=float,
            metavar="JOULES",
            help="With --bits auto: at most this a frame, by the chip's cost model.",
        ),
        click.option(
            "--max-nps",
            type=click.IntRange(min=1),
            metavar="N",
            help="With --bits auto: at most so many neural processors.",
        ),
        click.option(
            "--data",
            metavar="DATA",
            help="With --bits auto: measure the loss on these labelled samples, not on calibration "
            "samples kept apart.",
        ),
        click.option(
            "--metric",
            default="top1",
            show_default=True,
            metavar="METRIC",
            help="With --data: what is measured; see docs/gate.md.",
        ),
        click.option(
            "--write-config",
            type=FILE,
            metavar="OUT.toml",
            help="With --bits auto: where the bits are written; MODEL.lowbitc.toml beside the "
            "program when left out.",
        ),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        return functools.reduce(lambda made, add: add(made), reversed(decorators), command)

    return decorate


def annotate_option() -> Decorator:
    """Take the path of a copy of the model to write."""
    return click.option(
        "--annotate",
        type=FILE,
        metavar="OUT.onnx",
        help="Write a copy of the model whose nodes say, in their metadata, what became of them.",
    )


def report_option() -> Decorator:
    """Take the path of a page to write."""
    return click.option(
        "--report",
        "page",
        type=FILE,
        metavar="OUT.html",
        help="Write a page to look at: one file, which needs no network.",
    )


def format_option(*more: settings.Format) -> Decorator:
    """Take the format of the result, out of those of all commands and ``more``."""
    return click.option(
        "--format",
        "style",
        type=click.Choice((*settings.FORMATS, *more)),
        default="text",
        show_default=True,
        expose_value=False,
        is_eager=True,
        callback=settings.set_format,
        help="How to print the result on stdout.",
    )
