"""Help is complete, and costs no imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lowbitc import __version__
from lowbitc.cli.main import Commands, lowbitc

COMMANDS = sorted(Commands.summaries)
HEAVY = ("networkx", "numpy", "onnx", "onnxruntime", "rich", "PIL", "torch")


ROOT = Path(__file__).parent.parent.parent


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter, which finds the package whether or not it is installed."""
    return subprocess.run(
        [sys.executable, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )


def help_of(*command: str) -> str:
    result = CliRunner().invoke(lowbitc, [*command, "--help"])
    assert result.exit_code == 0, result.output
    return result.output


def command_named(name: str) -> click.Command:
    command = lowbitc.get_command(click.Context(lowbitc), name)
    assert command is not None
    return command


def test_help_lists_every_command_with_its_summary() -> None:
    text = help_of()
    for name, summary in Commands.summaries.items():
        assert f"  {name} " in text
        assert summary in text


def test_help_says_what_exit_codes_mean() -> None:
    assert "70 internal error" in " ".join(help_of().split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_of_a_command_is_the_first_sentence_of_its_help(name: str) -> None:
    assert command_named(name).get_short_help_str(limit=200) == Commands.summaries[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_says_what_it_does(name: str) -> None:
    options = [p for p in command_named(name).params if isinstance(p, click.Option)]
    assert not [o.name for o in options if not o.help]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_json_on_request(name: str) -> None:
    assert "--format [text|json" in help_of(name)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    script = (
        "import sys\n"
        "from lowbitc.cli.main import lowbitc\n"
        f"lowbitc({[*command, '--help']!r}, standalone_mode=False)\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = run_python("-c", script)
    assert done.stderr.strip() == "[]"


def test_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(lowbitc, ["--version"]).output == f"lowbitc {__version__}\n"


def test_a_misspelled_command_is_guessed() -> None:
    result = CliRunner().invoke(lowbitc, ["compil"])
    assert result.exit_code == 2
    assert "Did you mean 'compile'?" in result.output


def test_python_m_lowbitc_is_the_same_command_line() -> None:
    done = run_python("-m", "lowbitc", "--version")
    assert done.stdout == f"lowbitc {__version__}\n"
