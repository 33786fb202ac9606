"""The action, the hook, the GitLab example and the fixture are what their hosts take."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from pre_commit import clientlib

from tests.cli.gating import digits

_ROOT = Path(__file__).parent.parent.parent
_BIN = Path(sys.executable).parent
pytest_plugins = ["pytester"]


# --- GitHub ----------------------------------------------------------------------------------


def _builtin(schema: str, path: str, *options: str) -> None:
    arguments = ["--builtin-schema", schema, *options, str(_ROOT / path)]
    run = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_action_is_what_githubs_schema_says() -> None:
    _builtin("vendor.github-actions", "action.yml")


def _step(folder: Path, name: str, inputs: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a step of the action in a shell as GitHub's runner does."""
    action = yaml.safe_load((_ROOT / "action.yml").read_text(encoding="utf-8"))
    (step,) = [s for s in action["runs"]["steps"] if s["name"] == name]
    assert step["shell"] == "bash"
    assert "${{" not in step["run"], "inputs reach a script as variables only"
    given = {
        key: cast("str", held.get("default", "")) for key, held in action["inputs"].items()
    } | inputs
    known = {f"inputs.{key}": text for key, text in given.items()}
    known["github.action_path"] = str(_ROOT)
    variables = {
        key: re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda m: known[m[1]], text)
        for key, text in step["env"].items()
    }
    script = folder / "step.sh"
    script.write_text(step["run"], encoding="utf-8")
    environment = {
        **os.environ,
        **variables,
        "RUNNER_TEMP": str(folder),
        "GITHUB_OUTPUT": str(folder / "outputs"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],  # noqa: S607 - as GitHub
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _installed(folder: Path) -> None:
    """Stand in for what the step before installs."""
    binaries = folder / "lowbitc" / "bin"
    binaries.mkdir(parents=True)
    script = binaries / "lowbitc"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lowbitc "$@"\n', encoding="utf-8")
    script.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [("--min 0.9", 0), ("--min '0.9999'", 1), ('--min "nan"', 2), ("--min 0.9 $(touch hit)", 2)],
)
def test_the_action_gates_and_says_where_results_are(
    tmp_path: Path, arguments: str, code: int
) -> None:
    _installed(tmp_path)
    data = tmp_path / "a folder" / "test.npz"
    data.parent.mkdir()
    data.write_bytes((digits() / "digits.test.npz").read_bytes())
    inputs = {"model": str(digits() / "digits.lbc"), "data": str(data), "arguments": arguments}
    run = _step(tmp_path, "Gate", inputs)
    assert run.returncode == code, run.stderr
    assert not (tmp_path / "hit").exists()
    if "touch" in arguments:
        return
    lines = (tmp_path / "outputs").read_text(encoding="utf-8").splitlines()
    outputs = dict(line.split("=", 1) for line in lines)
    assert outputs["exit-code"] == str(code)
    held = json.loads((tmp_path / outputs["json"]).read_text(encoding="utf-8"))
    assert held["exit_code"] == code
    assert (tmp_path / outputs["sarif"]).exists()
    assert (tmp_path / outputs["junit"]).exists()
    assert ("::error" in run.stdout) is (code != 0)
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("### ")


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
def test_the_action_installs_its_own_checkout(tmp_path: Path) -> None:
    """Pip is stood in for, so that no network is needed: it notes what it is asked."""
    python = tmp_path / "fake python"
    python.write_text(
        "#!/bin/sh\n"
        'if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit; fi\n'
        'echo "$@" > "$RUNNER_TEMP/asked"\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    run = _step(tmp_path, "Install lowbitc", {"python": str(python)})
    assert run.returncode == 0, run.stderr
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert asked.startswith("-m pip install")
    assert str(_ROOT) in asked


def test_every_output_of_the_action_is_made_by_a_step() -> None:
    action = yaml.safe_load((_ROOT / "action.yml").read_text(encoding="utf-8"))
    script = next(s["run"] for s in action["runs"]["steps"] if s.get("id") == "gate")
    for name, held in action["outputs"].items():
        assert held["value"] == f"${{{{ steps.gate.outputs.{name} }}}}"
        assert f'"{name}=' in script


# --- pre-commit, GitLab ----------------------------------------------------------------------


def test_the_hook_is_what_pre_commit_takes_and_gates() -> None:
    path = _ROOT / ".pre-commit-hooks.yaml"
    load: Any = getattr(clientlib, "load_manifest")  # noqa: B009 - it has no types
    (hook,) = cast("list[dict[str, Any]]", load(str(path)))
    assert hook["pass_filenames"] is False
    options = [str(digits() / "digits.lbc"), "--data", str(digits() / "digits.test.npz")]
    entry = [sys.executable, "-m", *shlex.split(hook["entry"])]
    for bound, code in (("0.9", 0), ("0.9999", 1)):
        run = subprocess.run([*entry, *options, "--min", bound], check=False, capture_output=True)
        assert run.returncode == code


def test_the_gitlab_example_is_what_gitlabs_schema_says() -> None:
    _builtin("vendor.gitlab-ci", "examples/gitlab-ci.yml", "--data-transform", "gitlab-ci")


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
def test_the_gitlab_example_runs(tmp_path: Path) -> None:
    job = yaml.safe_load((_ROOT / "examples/gitlab-ci.yml").read_text(encoding="utf-8"))
    _, gate = job["accuracy-gate"]["script"]
    _installed(tmp_path)
    for name in ("digits.onnx", "digits.calib.npz", "digits.test.npz"):
        (tmp_path / name).write_bytes((digits() / name).read_bytes())
    (tmp_path / "model.onnx").write_bytes((digits() / "digits.onnx").read_bytes())
    (tmp_path / "model.calib.npz").write_bytes((digits() / "digits.calib.npz").read_bytes())
    (tmp_path / "test.npz").write_bytes((digits() / "digits.test.npz").read_bytes())
    environment = {
        **os.environ,
        **job["accuracy-gate"]["variables"],
        "PATH": f"{tmp_path}/lowbitc/bin:{os.environ['PATH']}",
    }
    run = subprocess.run(
        ["sh", "-ec", gate],  # noqa: S607 - as GitLab
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    # 445 digits cannot tell a drop of 0.2 points from one of 1.
    assert run.returncode in {0, 4}, run.stderr
    for path in (*job["accuracy-gate"]["artifacts"]["paths"], "gate-junit.xml"):
        assert (tmp_path / path).exists()


# --- pytest ----------------------------------------------------------------------------------


def test_the_fixture_fails_a_test_whose_program_is_not_good_enough(
    pytester: pytest.Pytester,
) -> None:
    program, data = str(digits() / "digits.lbc"), str(digits() / "digits.test.npz")
    pytester.makepyfile(
        f"""
        def test_good(lowbitc_gate):
            assert lowbitc_gate({program!r}, {data!r}, minimum=0.9).value > 0.9
        def test_bad(lowbitc_gate):
            lowbitc_gate({program!r}, {data!r}, minimum=0.9999)
        def test_few(lowbitc_gate):
            lowbitc_gate({program!r}, {data!r}, minimum=0.97, confidence=0.95, limit=20)
        def test_nothing(lowbitc_gate):
            lowbitc_gate({program!r}, "none.npz", minimum=0.9)
        """
    )
    # In a process of its own, where pytest finds the plugin by its entry point.
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--junitxml=r.xml")
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines_random(
        ["*less than 0.9999*", "*too few to tell*", "*could not measure*LB726*"]
    )
    assert "lowbitc_top1" in (pytester.path / "r.xml").read_text(encoding="utf-8")


def test_the_plugin_loads_nothing_heavy() -> None:
    script = (
        "import sys, lowbitc.pytest_plugin\n"
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'rich') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
