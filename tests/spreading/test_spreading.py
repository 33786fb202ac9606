"""Whatever the split, the same bits; and what a lost worker had is measured again."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import lowbitc
from lowbitc.compiler.diagnostics import CompileError
from lowbitc.evaluation import Part, Work
from lowbitc.spreading import Spread, evaluate, ranges
from lowbitc.targets.container import container_bytes
from tests.cli.gating import digits, run_gate, samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

METRICS = ("top1", "f1-macro", "agreement", "mse", "sqnr")


def _work(data: Any = None, *metrics: str) -> Work:  # noqa: ANN401 - whatever a data set is
    program = lowbitc.load(digits() / "digits.lbc")
    return Work(
        container_bytes(program.container),
        data or str(digits() / "digits.test.npz"),
        metrics or METRICS,
        "fast",
        reference=str(digits() / "digits.onnx"),
        keep_outputs=True,
        examine=True,
    )


def _same(one: Part, other: Part) -> None:
    """Compare all but the time, to the bit."""
    for field in dataclasses.fields(Part):
        if field.name in {"seconds", "outputs"}:
            continue
        assert getattr(one, field.name) == getattr(other, field.name), field.name
    assert one.outputs is not None
    assert other.outputs is not None
    for name, array in one.outputs.items():
        assert array.tobytes() == other.outputs[name].tobytes()


@pytest.fixture(scope="module")
def whole() -> Part:
    return evaluate(_work())


def test_ranges_are_whole_groups_that_cover_everything() -> None:
    for count, group, workers in ((445, 64, 0), (445, 64, 2), (10_000, 64, 3), (1, 64, 8)):
        cut = ranges(count, group, workers)
        assert [start for start, _ in cut] == [0, *(stop for _, stop in cut[:-1])]
        assert cut[-1][1] == count
        assert all(start % group == 0 for start, _ in cut)


def test_processes_give_the_same_bits(whole: Part) -> None:
    _same(whole, evaluate(_work(), spread=Spread(jobs=2)))


def test_one_thread_gives_the_same_bits(whole: Part) -> None:
    _same(whole, evaluate(dataclasses.replace(_work(), threads=1)))


def test_arrays_a_packed_file_and_a_function_give_the_same_bits(
    whole: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = samples()
    _same(whole, evaluate(_work({"x": images, "y": labels})))
    np.savez_compressed(tmp_path / "packed.npz", x=images, y=labels)
    _same(whole, evaluate(_work(str(tmp_path / "packed.npz"))))
    (tmp_path / "in_parts.py").write_text(
        "from tests.cli.gating import samples\n"
        "def data():\n"
        "    x, y = samples()\n"
        "    for i in range(0, len(x), 50):\n"
        "        yield {'x': x[i:i + 50], 'y': y[i:i + 50]}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    _same(whole, evaluate(_work("in_parts:data")))


def test_an_error_travels_with_every_finding() -> None:
    with pytest.raises(CompileError) as refused:
        lowbitc.gate(digits() / "digits.lbc", {"x": np.zeros((0, 1, 8, 8))}, minimum=0.5)
    again = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 - our own
    assert again.diagnostics == refused.value.diagnostics


_SLOW = """
import os, pathlib, signal, time
import numpy as np
from tests.cli.gating import samples

def data():
    x, y = samples()
    for i in range(0, len(x), 16):
        if i == 128:
            {event}
        yield {{'x': x[i:i + 16], 'y': y[i:i + 16]}}
"""
_DIES_ONCE = """
            here = pathlib.Path(__file__).parent
            if os.getpid() != int((here / 'parent').read_text()) and not (here / 'died').exists():
                (here / 'died').touch()
                os.kill(os.getpid(), signal.SIGKILL)
"""
_DIES = """
            if os.getpid() != int((pathlib.Path(__file__).parent / 'parent').read_text()):
                os.kill(os.getpid(), signal.SIGKILL)
"""


def _slow(folder: Path, monkeypatch: pytest.MonkeyPatch, event: str) -> None:
    (folder / "slow_data.py").write_text(_SLOW.format(event=event.strip()), encoding="utf-8")
    (folder / "parent").write_text(str(os.getpid()), encoding="utf-8")
    sys.modules.pop("slow_data", None)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), *filter(None, sys.path))))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_process_that_is_killed_is_made_good(
    whole: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _slow(tmp_path, monkeypatch, _DIES_ONCE)
    _same(whole, evaluate(_work("slow_data:data"), spread=Spread(jobs=2)))
    assert (tmp_path / "died").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_processes_that_always_die_do_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _slow(tmp_path, monkeypatch, _DIES)
    monkeypatch.setattr("lowbitc.spreading._BREAKS", 1)
    result = run_gate("--min", "0.5", "--jobs", "2", data="slow_data:data")
    assert result.exit_code == 4
    assert "LB756" in result.stderr


# --- a real Dask cluster ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason="needs lowbitc[distributed]")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as made:
        yield made


def test_dask_gives_the_same_bits(cluster: Any, whole: Part) -> None:  # noqa: ANN401 - untyped
    _same(whole, evaluate(_work(), spread=Spread(dask=cluster.scheduler_address)))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_worker_that_is_killed_in_the_middle_is_made_good(cluster: Any, whole: Part) -> None:  # noqa: ANN401 - untyped
    killed: list[int] = []

    def kill(_step: str, done: int, total: int) -> None:
        if not killed and done < total:
            worker = next(iter(cluster.workers.values()))
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

    spread = Spread(dask=cluster.scheduler_address)
    _same(whole, evaluate(_work(), spread=spread, report=kill))
    assert killed


def test_a_gate_on_dask_decides_as_here(cluster: Any) -> None:  # noqa: ANN401 - untyped
    result = run_gate("--min", "0.97", "--dask", cluster.scheduler_address)
    assert result.exit_code == 0
    assert result.stdout == run_gate("--min", "0.97").stdout


def test_the_first_samples_are_the_first_whatever_the_split(cluster: Any) -> None:  # noqa: ANN401 - untyped
    work, spread = _work(), Spread(dask=cluster.scheduler_address)
    _same(evaluate(work, limit=100), evaluate(work, limit=100, spread=spread))


def test_errors_of_workers_are_the_errors_of_one(cluster: Any, tmp_path: Path) -> None:  # noqa: ANN401 - untyped
    images, labels = samples()
    images[300, 0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", x=images, y=labels)
    found: list[tuple[str, str]] = []
    for spread in (Spread(), Spread(dask=cluster.scheduler_address)):
        with pytest.raises(CompileError) as refused:
            evaluate(_work(str(tmp_path / "nan.npz")), spread=spread)
        (problem,) = refused.value.diagnostics
        found.append((problem.code, problem.found))
    assert found[0] == found[1]
    assert found[0][0] == "LB724"


def test_no_cluster_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="needs lowbitc[distributed]")
    monkeypatch.setattr("lowbitc.dask_cluster._WAIT_S", 1)
    result = run_gate("--min", "0.5", "--dask", "tcp://127.0.0.1:9")
    assert result.exit_code == 4
    assert "LB756" in result.stderr


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = run_gate("--min", "0.5", "--dask", "tcp://127.0.0.1:9")
    assert result.exit_code == 3
    assert "lowbitc[distributed]" in result.stderr
