"""Exit codes are what scripts rely on, and every error leaves as findings."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from lowbitc.cli import options, settings
from lowbitc.cli.exit_codes import ExitCode, exit_code
from lowbitc.cli.lazy import LazyGroup
from lowbitc.cli.main import lowbitc
from lowbitc.compiler.codes import CATALOGUE
from lowbitc.compiler.diagnostics import (
    CompileError,
    Diagnostic,
    InternalError,
    Source,
    error,
    warning,
)

BAD_KERNEL = error(
    "LB201",
    "kernels are square",
    sources=[Source("/stem/Conv", "Conv")],
    found="3x1",
    allowed="1x1, 3x3",
    hint="pad the kernel",
)


class Raising(LazyGroup):
    """A group with one command, which raises what it was made with."""

    summaries = {"work": "Raise."}  # noqa: RUF012 - the type is declared by LazyGroup

    def __init__(self, problem: BaseException) -> None:
        super().__init__("lowbitc")
        self.problem = problem
        self.params.append(click.Option(["--debug"], is_flag=True, callback=self.set_debug))

    @staticmethod
    def set_debug(ctx: click.Context, _option: click.Parameter, value: object) -> None:
        ctx.ensure_object(settings.Settings).debug = bool(value)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx, cmd_name

        @click.command("work")
        @options.format_option()
        def work() -> None:
            raise self.problem

        return work


def run(problem: BaseException, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(Raising(problem), ["work", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("LB101", 3),
        ("LB201", 3),
        ("LB401", 2),
        ("LB501", 1),
        ("LB603", 3),
        ("LB720", 3),
        ("LB731", 2),
        ("LB734", 4),
        ("LB900", 70),
        ("LB906", 4),
        ("LB907", 3),
    ],
)
def test_an_error_leaves_with_the_exit_code_of_its_area(code: str, expected: int) -> None:
    status, _, stderr = run(CompileError([error(code, "no")]))
    assert status == expected
    assert f"error[{code}]: no" in stderr


def test_no_errors_are_exit_code_0() -> None:
    assert exit_code([]) is ExitCode.DONE


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_of_the_catalogue_has_a_failing_exit_code(code: str) -> None:
    assert exit_code([code]) is not ExitCode.DONE


def test_bad_input_outweighs_a_model_that_does_not_fit() -> None:
    assert exit_code(["LB501", "LB101"]) is ExitCode.BAD_INPUT


def test_a_defect_outweighs_everything() -> None:
    assert exit_code(["LB501", "LB101", "LB900"]) is ExitCode.INTERNAL


def test_a_warning_beside_an_error_does_not_change_the_exit_code() -> None:
    status, _, _ = run(CompileError([warning("LB900", "odd"), BAD_KERNEL]))
    assert status == 3


def test_a_finding_says_what_was_found_what_is_allowed_and_what_to_do() -> None:
    _, stdout, stderr = run(CompileError([BAD_KERNEL]))
    assert stdout == ""
    assert stderr == (
        "error[LB201]: kernels are square\n"
        "  found:   3x1\n"
        "  allowed: 1x1, 3x3\n"
        "  help:    pad the kernel\n"
        "  from:    /stem/Conv (Conv)\n"
        "1 error; `lowbitc explain LB201` says more\n"
    )


def test_every_finding_is_shown_not_the_first() -> None:
    second = error("LB202", "too wide")
    _, _, stderr = run(CompileError([BAD_KERNEL, second]))
    assert "kernels are square" in stderr
    assert "too wide" in stderr
    assert "2 errors" in stderr


def test_a_failure_leaves_a_result_in_json_too() -> None:
    status, stdout, _ = run(CompileError([BAD_KERNEL]), "--format", "json")
    assert status == 3
    assert json.loads(stdout) == {
        "exit_code": 3,
        "diagnostics": [
            {
                "code": "LB201",
                "severity": "error",
                "message": "kernels are square",
                "sources": [{"node": "/stem/Conv", "op": "Conv"}],
                "found": "3x1",
                "allowed": "1x1, 3x3",
                "hint": "pad the kernel",
            }
        ],
    }


@pytest.mark.parametrize("problem", [InternalError("broken"), KeyError("x"), ZeroDivisionError()])
def test_a_defect_shows_no_trace_and_exits_with_70(problem: Exception) -> None:
    status, _, stderr = run(problem)
    assert status == 70
    assert "error[LB900]: internal error: " in stderr
    assert "Traceback" not in stderr


def test_a_defect_shows_its_trace_under_debug() -> None:
    result = CliRunner().invoke(Raising(KeyError("x")), ["--debug", "work"])
    assert result.exit_code == 70
    assert "Traceback" in result.stderr


def test_a_missing_file_is_bad_input() -> None:
    status, _, stderr = run(FileNotFoundError(2, "No such file or directory", "model.onnx"))
    assert status == 3
    assert "model.onnx: No such file or directory" in stderr


def test_wrong_use_is_exit_code_2() -> None:
    assert run(click.UsageError("no"))[0] == 2


def test_an_unknown_option_is_exit_code_2() -> None:
    assert run(KeyError("x"), "--no-such-option")[0] == 2


@pytest.mark.parametrize(
    "given",
    [("simulate", "a.lbc"), ("gate", "a.lbc"), ("compare", "a.onnx", "a.lbc"), ("tune", "a.onnx")],
)
def test_data_that_was_left_out_is_told_with_what_it_can_be(given: tuple[str, ...]) -> None:
    result = CliRunner().invoke(lowbitc, given)

    assert result.exit_code == ExitCode.WRONG_USE
    assert "Missing option '--data'. It takes an .npz (arrays" in result.stderr
    assert "package.module:function" in result.stderr


def test_messages_are_not_read_as_markup() -> None:
    odd = Diagnostic("LB101", BAD_KERNEL.severity, "[bold]x[/bold] :smile:")
    assert "[bold]x[/bold] :smile:" in run(CompileError([odd]))[2]
