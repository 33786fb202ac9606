"""A program is written whole or not at all, and never harms the one that was there."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lowbitc.compiler.diagnostics import CompileError, Diagnostic
from lowbitc.targets.container import (
    Container,
    ManifestError,
    Section,
    SectionType,
    container_bytes,
    read_container,
    write_container,
)

_SOURCE = Path(__file__).resolve().parents[2] / "src"
_OLD = Container({"which": "old"})
_NEW = Container({"which": "new"}, (Section(SectionType.NP_IMAGE, 0, bytes(100_000)),))
_WRITE_NEW = """
from lowbitc.targets.container import Container, Section, SectionType, write_container
new = Container({"which": "new"}, (Section(SectionType.NP_IMAGE, 0, bytes(100_000)),))
"""

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and modes")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Give the path of an older program, alone in its folder."""
    path = tmp_path / "net.lbc"
    write_container(path, _OLD)
    return path


def _refuse_to_write(path: Path) -> Diagnostic:
    with pytest.raises(CompileError) as caught:
        write_container(path, _NEW)
    (finding,) = caught.value.diagnostics
    assert finding.code == "LB614"
    assert str(path) in finding.message
    return finding


def _run(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, str(path)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_SOURCE)},
    )


def test_a_new_program_replaces_the_old_one(old: Path) -> None:
    write_container(old, _NEW)
    assert read_container(old) == _NEW
    assert list(old.parent.iterdir()) == [old]


def test_a_program_in_use_keeps_its_content_when_it_is_replaced(old: Path) -> None:
    big = Container({}, (Section(SectionType.NP_IMAGE, 0, b"\x05" * (2 << 20)),))
    write_container(old, big)
    in_use = read_container(old)
    write_container(old, _NEW)
    assert in_use == big


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_any_failure_of_the_system_leaves_the_old_program(
    old: Path, monkeypatch: pytest.MonkeyPatch, call: str, reason: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(Path if call == "replace" else os, call, fail)
    finding = _refuse_to_write(old)
    monkeypatch.undo()
    assert finding.found == errno.errorcode[reason]
    assert finding.hint
    assert read_container(old) == _OLD
    assert list(old.parent.iterdir()) == [old]


def test_an_interrupt_leaves_the_old_program_and_no_other_file(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_container(old, _NEW)
    assert read_container(old) == _OLD
    assert list(old.parent.iterdir()) == [old]


@posix
def test_a_full_disk_leaves_the_old_program_and_no_other_file(old: Path) -> None:
    script = f"""{_WRITE_NEW}
import resource, signal, sys
from lowbitc.compiler.diagnostics import CompileError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_container(sys.argv[1], new)
except CompileError as refusal:
    print(*(d.code + " " + d.found for d in refusal.diagnostics))
"""
    assert _run(script, old).stdout == "LB614 EFBIG\n"
    assert read_container(old) == _OLD
    assert list(old.parent.iterdir()) == [old]


@posix
@pytest.mark.parametrize("call", ["os.fsync", "Path.replace"])
def test_a_process_killed_while_it_writes_leaves_the_old_program(old: Path, call: str) -> None:
    script = f"""{_WRITE_NEW}
import os, signal, sys
from pathlib import Path
{call} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_container(sys.argv[1], new)
"""
    assert _run(script, old).returncode == -9
    assert old.read_bytes() == container_bytes(_OLD)
    (beside,) = (path.name for path in old.parent.iterdir() if path != old)
    assert beside.startswith(".lbc-")
    assert beside.endswith(".tmp")
    write_container(old, _NEW)
    assert read_container(old) == _NEW


@posix
def test_a_folder_that_is_read_only_is_refused(old: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write to any folder")
    old.parent.chmod(0o555)
    try:
        finding = _refuse_to_write(old)
    finally:
        old.parent.chmod(0o755)
    assert finding.found == "EACCES"
    assert read_container(old) == _OLD


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    finding = _refuse_to_write(tmp_path / "missing" / "net.lbc")
    assert finding.found == "ENOENT"
    assert finding.hint == "create the folder first"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_replaced_by_a_program(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    finding = _refuse_to_write(tmp_path / "folder")
    assert "not a regular file" in finding.message
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@posix
def test_a_device_is_not_replaced_by_a_program(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    _refuse_to_write(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@posix
def test_a_link_is_followed_and_stays_a_link(old: Path) -> None:
    link = old.with_name("latest.lbc")
    link.symlink_to(old)
    write_container(link, _NEW)
    assert link.is_symlink()
    assert read_container(old) == _NEW


@posix
def test_permissions_are_those_of_the_old_program_or_of_the_umask(old: Path) -> None:
    old.chmod(0o640)
    write_container(old, _NEW)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    fresh = old.with_name("fresh.lbc")
    write_container(fresh, _NEW)
    plain = old.with_name("plain")
    plain.touch()
    assert fresh.stat().st_mode == plain.stat().st_mode


def test_a_manifest_that_cannot_be_written_leaves_the_old_program(old: Path) -> None:
    with pytest.raises(ManifestError, match="nan"):
        write_container(old, Container({"scale": float("nan")}))
    assert read_container(old) == _OLD
    assert list(old.parent.iterdir()) == [old]
