"""What is installed: every sub-package, under one name, and nothing generic beside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
FOLDERS = ("cli", "compiler", "passes", "targets", "training")
C_SOURCES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.[ch]")]


@pytest.fixture(scope="module")
def setuptools_table() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return cast("dict[str, Any]", tomllib.loads(text)["tool"]["setuptools"])


def folders_with_modules() -> Iterator[str]:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            yield ".".join(("lowbitc", *path.parent.relative_to(ROOT).parts))


def test_every_folder_with_modules_is_a_package_that_is_named(
    setuptools_table: dict[str, Any],
) -> None:
    assert setuptools_table["packages"] == sorted({"lowbitc", *folders_with_modules()})


def test_every_package_has_an_init_file() -> None:
    for package in set(folders_with_modules()):
        folder = ROOT.joinpath(*package.split(".")[1:])
        assert (folder / "__init__.py").is_file(), f"{folder} has no __init__.py"


def test_a_changed_header_rebuilds_the_extension(setuptools_table: dict[str, Any]) -> None:
    for extension in setuptools_table["ext-modules"]:
        headers = (ROOT / extension["sources"][0]).parent.glob("*.h")
        found = sorted(h.relative_to(ROOT).as_posix() for h in headers)
        assert extension.get("depends", []) == found


def test_extensions_are_optional(setuptools_table: dict[str, Any]) -> None:
    assert all(extension["optional"] is True for extension in setuptools_table["ext-modules"])


@pytest.mark.parametrize("folder", FOLDERS)
def test_links_to_the_folders_are_relative(folder: str) -> None:
    link = ROOT / "src" / "lowbitc" / folder
    if not link.is_symlink():
        pytest.skip("this clone has no symbolic links")
    assert link.readlink() == Path("..", "..", folder)


def test_no_folder_named_lowbitc_stands_at_the_root() -> None:
    # It would hide the package from mypy, which then checks one file and reports success.
    assert not (ROOT / "lowbitc").exists()


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a source distribution and, from it, a wheel: without network and C compiler."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("packaging")
    unwanted = shutil.ignore_patterns(
        ".*", "*.so", "*.pyd", "*.egg-info", "__pycache__", "build", "dist", "venv*"
    )
    shutil.copytree(ROOT, folder / "checkout", symlinks=True, ignore=unwanted)
    arguments = ["--no-isolation", "--outdir", str(folder / "dist"), str(folder / "checkout")]
    subprocess.run(
        [sys.executable, "-m", "build", *arguments],
        check=True,
        capture_output=True,
        env={**os.environ, "CC": "/bin/false"},
    )
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel_names(distributions: Path) -> set[str]:
    (wheel,) = distributions.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def sdist_names(distributions: Path) -> set[str]:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_a_wheel_puts_only_lowbitc_into_site_packages(wheel_names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel_names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"lowbitc"}


def test_a_wheel_holds_every_module(wheel_names: set[str]) -> None:
    modules = {
        f"lowbitc/{path.relative_to(ROOT).as_posix()}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    assert modules <= wheel_names


@pytest.mark.parametrize(
    "name", ["py.typed", "demo/digits.onnx", "demo/digits.calib.npz", "demo/digits.test.npz"]
)
def test_a_wheel_holds_the_marker_of_types_and_the_demo(wheel_names: set[str], name: str) -> None:
    assert f"lowbitc/{name}" in wheel_names


@pytest.mark.parametrize("name", ["page.css", "page.js"])
def test_a_wheel_holds_what_the_report_page_is_made_of(wheel_names: set[str], name: str) -> None:
    assert f"lowbitc/cli/report/{name}" in wheel_names


def test_a_wheel_holds_every_chip(wheel_names: set[str]) -> None:
    chips = {f"lowbitc/{p.relative_to(ROOT).as_posix()}" for p in ROOT.glob("targets/**/*.toml")}
    assert chips <= wheel_names


def test_a_source_distribution_holds_the_c_source_and_the_tests(sdist_names: set[str]) -> None:
    sources = [*C_SOURCES, *ROOT.glob("tests/**/*.py")]
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= sdist_names


def test_make_installs_again_when_a_c_source_changes() -> None:
    wildcard = re.search(r"\$\(wildcard ([^)]+)\)", (ROOT / "Makefile").read_text("utf-8"))
    assert wildcard is not None
    watched = {path for pattern in wildcard[1].split() for path in ROOT.glob(pattern)}
    assert set(C_SOURCES) <= watched


def test_a_source_distribution_holds_nothing_built(sdist_names: set[str]) -> None:
    assert not {name for name in sdist_names if name.endswith((".so", ".pyd", ".pyc"))}
