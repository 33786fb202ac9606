"""The command line's entry: which commands there are; each is imported when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import click

from lowbitc._version import VERSION
from lowbitc.cli import settings
from lowbitc.cli.lazy import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Mapping


class Commands(LazyGroup):
    """The commands, in the order in which a user meets them."""

    package: ClassVar[str] = "lowbitc.cli.commands"
    summaries: ClassVar[Mapping[str, str]] = {
        "demo": "Compile, simulate and gate the network that comes with lowbitc.",
        "check": "Say what of a model runs on the chip, without data.",
        "partition": "Show where each node of a model runs, why, and what it costs.",
        "compile": "Compile a float ONNX model into a program for the chip.",
        "tune": "Train a float model for a number of bits, then compile it.",
        "sweep": "Compile a model at many bits, and compare loss, size and energy.",
        "simulate": "Run a program on the simulated chip and measure it.",
        "gate": "Pass or fail a program on labelled data.",
        "compare": "Say which layer of a program is to blame for what it loses.",
        "verify": "Check that an engine gives the answers that a program stores.",
        "learn": "Teach a program new classes from a few examples.",
        "inspect": "Show what a program holds.",
        "dump": "Print the graph after a pass, or those of a program.",
        "explain": "Say what a diagnostic code means and what to do.",
        "targets": "List the chips and what they can do.",
    }


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 the gate failed or the model does not fit the chip; 2 wrong "
    "use; 3 bad input; 4 could not measure; 70 internal error.",
)
@click.version_option(VERSION, prog_name="lowbitc", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Print the trace of an error.")
@click.pass_context
def lowbitc(ctx: click.Context, *, debug: bool) -> None:
    """Compile ONNX models for a low-bit neuromorphic chip, and simulate it bit for bit."""
    ctx.ensure_object(settings.Settings).debug = debug
