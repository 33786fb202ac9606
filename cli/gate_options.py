"""Options of ``lowbitc gate``, and the gate that they stand for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypedDict

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lowbitc.cli.options import Decorator
    from lowbitc.gating import Gate
    from lowbitc.options import Options

FORMATS = ("text", "json", "junit", "sarif", "github", "markdown")
Limit = tuple[str, float]
"""A metric, "" for the only one, and a number."""


class GateArguments(TypedDict):
    """What settles a gate, by the names of its options."""

    metrics: tuple[str, ...]
    minimum: tuple[Limit, ...]
    maximum: tuple[Limit, ...]
    reference: Path | None
    max_drop: tuple[Limit, ...]
    min_float: tuple[Limit, ...]
    baseline: Path | None
    write_baseline: Path | None
    max_regression: tuple[Limit, ...]
    max_energy: float | None
    max_cycles: float | None
    max_nps: float | None
    confidence: float | None
    undecided: str
    accept_range: bool
    calib: str | None
    bits: str | None
    target: str | None
    config: Path | None
    engine: str
    limit: int | None
    threads: int
    jobs: int
    dask: str


if TYPE_CHECKING:
    _ParamType = click.ParamType[Limit]
else:
    # Only newer versions of click have a type parameter here.
    _ParamType = click.ParamType


class LimitType(_ParamType):
    """``VALUE`` or ``METRIC=VALUE``."""

    name = "limit"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Limit:
        """Split a bound; whether it can be used is checked where the metrics are known."""
        metric, _, number = str(value).rpartition("=")
        try:
            return metric, float(number)
        except ValueError:
            self.fail(f"{value} is neither VALUE nor METRIC=VALUE", param, ctx)


def _limit(flag: str, name: str, text: str) -> Decorator:
    return click.option(
        flag, name, type=LimitType(), multiple=True, metavar="[METRIC=]VALUE", help=text
    )


def _budget(name: str, text: str) -> Decorator:
    return click.option(f"--max-{name}", type=float, metavar="NUMBER", help=text)


def spread_options() -> Decorator:
    """Take where the work is done."""
    return _together(
        click.option(
            "--jobs",
            type=click.IntRange(min=1),
            default=1,
            metavar="N",
            help="Processes to measure in. Results do not depend on it.",
        ),
        click.option(
            "--dask",
            default="",
            metavar="ADDRESS",
            help="Measure on the workers of this Dask scheduler, which see the same files.",
        ),
    )


def gate_options() -> Decorator:
    """Take the bounds of a gate, how they are decided, and where the result goes."""
    from lowbitc.cli.verdicts.suffixes import check_outputs

    return _together(
        click.option(
            "--metric",
            "metrics",
            multiple=True,
            metavar="METRIC",
            help="top1 (when left out), top5, agreement, mse, sqnr, f1, f1-macro, auc, exact, "
            "cer, ap50 or package.module:function, with options as cer,charset=FILE; repeatable.",
        ),
        _limit("--min", "minimum", "Fail where the metric is lower."),
        _limit("--max", "maximum", "Fail where the metric is higher (cer, mse)."),
        click.option(
            "--reference",
            type=options.FILE,
            metavar="MODEL.onnx",
            help="The float model that is compared with; an ONNX model is its own.",
        ),
        _limit("--max-drop", "max_drop", "Fail where the program is worse than float by more."),
        _limit("--min-float", "min_float", "Fail where the float model itself does not reach it."),
        click.option(
            "--baseline",
            type=options.FILE,
            metavar="FILE",
            help="Fail where a metric is worse than in this file, on the same data.",
        ),
        click.option(
            "--write-baseline",
            type=options.FILE,
            metavar="FILE",
            help="Write such a file, when every other bound is met.",
        ),
        _limit("--max-regression", "max_regression", "How much worse than the baseline may pass."),
        _budget("energy", "Fail over so many joules a frame, by the chip's cost model."),
        _budget("cycles", "Fail over so many cycles a frame, by the chip's cost model."),
        _budget("nps", "Fail over so many neural processors at once."),
        click.option(
            "--confidence",
            type=float,
            metavar="SHARE",
            help="Let intervals of this confidence decide, for example 0.95.",
        ),
        click.option(
            "--undecided",
            type=click.Choice(("stop", "fail")),
            default="stop",
            show_default=True,
            help="What too few samples to tell is: exit code 4, or 1.",
        ),
        click.option(
            "--accept-range",
            is_flag=True,
            help="Measure data whose values are not in the range of the calibration.",
        ),
        click.option(
            "--output",
            "outputs",
            type=options.FILE,
            multiple=True,
            callback=check_outputs,
            metavar="FILE",
            help="Write the result to FILE: .json, .xml (JUnit), .sarif or .md; repeatable.",
        ),
        click.option("--calib", metavar="DATA", help="To compile: samples to calibrate on."),
        click.option("--bits", metavar="A/B/C", help="To compile: bits, 8/8/8 when left out."),
        options.target_option(),
        options.config_option(),
        options.engine_option(),
        options.limit_option(),
        options.threads_option(),
        spread_options(),
        click.option(
            "--format",
            "style",
            type=click.Choice(FORMATS),
            default="text",
            show_default=True,
            help="How to print the result on stdout.",
        ),
    )


def gate_of(arguments: GateArguments, *, compiles: bool) -> Gate:
    """Settle a gate from the command line; raises CompileError LB731."""
    from lowbitc.gating import settle_gate
    from lowbitc.spreading import Spread

    budgets = {
        "energy": arguments["max_energy"],
        "cycles": arguments["max_cycles"],
        "nps": arguments["max_nps"],
    }
    return settle_gate(
        compiles=compiles,
        metric=arguments["metrics"],
        minimum=_limits(arguments["minimum"]),
        maximum=_limits(arguments["maximum"]),
        reference=arguments["reference"],
        max_drop=_limits(arguments["max_drop"]),
        min_float=_limits(arguments["min_float"]),
        baseline=arguments["baseline"],
        write_to=arguments["write_baseline"],
        max_regression=_limits(arguments["max_regression"]),
        costs={name: bound for name, bound in budgets.items() if bound is not None},
        confidence=arguments["confidence"],
        undecided_fails=arguments["undecided"] == "fail",
        accept_range=arguments["accept_range"],
        engine=arguments["engine"],
        limit=arguments["limit"],
        threads=arguments["threads"],
        spread=Spread(arguments["jobs"], arguments["dask"]),
    )


def options_of(model: Path, arguments: GateArguments, *, compiles: bool) -> Options | None:
    """Settle the compilation of an ONNX model; None for a program.

    Raises CompileError LB731 where a program is given and options to compile it.
    """
    from lowbitc.compiler.diagnostics import error, raise_errors
    from lowbitc.options import settle

    if compiles:
        return settle(
            model,
            calib=arguments["calib"],
            bits=arguments["bits"],
            target=arguments["target"],
            config=arguments["config"],
            threads=arguments["threads"],
        )
    given: dict[str, object] = {
        "calib": arguments["calib"],
        "bits": arguments["bits"],
        "target": arguments["target"],
        "config": arguments["config"],
    }
    named = [f"--{name}" for name, value in given.items() if value is not None]
    raise_errors(
        error(
            "LB731",
            f"{model} is compiled already",
            found=", ".join(named),
            allowed="an ONNX model with these options",
            hint="leave them out, or gate the model: lowbitc gate MODEL.onnx",
        )
        for _ in named[:1]
    )
    return None


def _limits(given: tuple[Limit, ...]) -> Mapping[str, float] | float | None:
    """Return bounds by metric, or the one of the only metric; None where there is none."""
    from lowbitc.compiler.diagnostics import error, raise_errors

    names = [metric for metric, _ in given]
    raise_errors(
        error(
            "LB731",
            "a bound is given twice",
            found=name or "a number alone",
            allowed="one bound a metric",
        )
        for name in sorted({n for n in names if names.count(n) > 1 or (not n and len(names) > 1)})
    )
    if names == [""]:
        return given[0][1]
    return dict(given) or None


def _together(*decorators: Decorator) -> Decorator:
    # The last decorator applied is the first option that help lists.
    return lambda command: functools.reduce(
        lambda made, add: add(made), reversed(decorators), command
    )
