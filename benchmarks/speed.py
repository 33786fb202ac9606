"""Time the fast engine against float32 ONNX Runtime on the original model, interleaved.

    python benchmarks/speed.py [--models resnet18 resnet50 MODEL.onnx ...] [--bits 8/8/8 8/4/4]

Runs of the two alternate, so that load from elsewhere falls on both; what counts is the median of
the ratios of neighbours. Between runs the process rests: ONNX Runtime's threads keep a core busy
for some 35 ms after their work, which would be counted against whoever runs next. --memory
measures the peak memory of each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
from resnets import resnet

import lowbitc
from lowbitc.targets.engines.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Float32 = npt.NDArray[np.float32]

BUILT = {"resnet18": 18, "resnet50": 50}
_CALIBRATION = 4
_WARM_UP = 2
_REST_SECONDS = 0.1


def main() -> None:
    """Print one line a model, bit setting and batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(BUILT))
    parser.add_argument("--bits", nargs="+", default=["8/8/8", "8/4/4"])
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 1])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _run_child(*options.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            model = _model_file(name, Path(folder))
            for bits in options.bits:
                program = Path(folder) / "program.lbc"
                _compile(model, bits, program)
                for batch in options.batches:
                    line = _compare(model, program, batch, options.pairs, options.threads)
                    memory = _memory(model, program, batch) if options.memory else ""
                    print(f"{model.stem} {bits} batch {batch}: {line}{memory}", flush=True)


def _model_file(name: str, folder: Path) -> Path:
    if name not in BUILT:
        return Path(name)
    path = folder / f"{name}.onnx"
    onnx.save(resnet(BUILT[name]), path)
    return path


def _input(model: Path) -> tuple[str, tuple[int, ...]]:
    (port,) = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).get_inputs()
    return port.name, tuple(port.shape[1:])


def _images(shape: Sequence[int], count: int) -> Float32:
    """Return smooth random images: noise of few pixels, enlarged."""
    random = np.random.default_rng(0)
    coarse = random.normal(0, 1, (count, shape[0], 8, 8))
    grown = np.kron(coarse, np.ones((1, 1, -(-shape[1] // 8), -(-shape[2] // 8))))
    return grown[:, :, : shape[1], : shape[2]].astype(np.float32)


def _compile(model: Path, bits: str, program: Path) -> None:
    name, shape = _input(model)
    calibration = {name: _images(shape, _CALIBRATION)}
    lowbitc.compile(model, calib=calibration, bits=bits).save(program)


def _float_runner(model: Path, batch: int, threads: int) -> Callable[[], object]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name, shape = _input(model)
    feeds = {name: _images(shape, batch)}
    return lambda: session.run(None, feeds)


def _chip_runner(program: Path, batch: int, threads: int) -> Callable[[], object]:
    held = lowbitc.load(program)
    simulator = Simulator(held, "fast", threads=threads)
    port = held.inputs[0]
    feeds = {port.name: _images(port.sample_shape or (), batch)}
    return lambda: simulator.run(feeds)


def _compare(model: Path, program: Path, batch: int, pairs: int, threads: int) -> str:
    runners = (_float_runner(model, batch, threads), _chip_runner(program, batch, threads))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs + _WARM_UP):
        for runner, held in zip(runners, times, strict=True):
            time.sleep(_REST_SECONDS)
            start = time.perf_counter()
            runner()
            held.append(time.perf_counter() - start)
    floats, chips = (held[_WARM_UP:] for held in times)
    ratio = statistics.median(a / b for a, b in zip(floats, chips, strict=True))
    shown = [1000 * statistics.median(held) for held in (floats, chips)]
    return f"float {shown[0]:.1f} ms, fast {shown[1]:.1f} ms, ratio {ratio:.2f}"


def _memory(model: Path, program: Path, batch: int) -> str:
    peaks = [
        json.loads(
            subprocess.run(  # noqa: S603 - this script, in a process of its own
                [
                    sys.executable,
                    __file__,
                    "--child",
                    kind,
                    str(model),
                    str(program),
                    str(batch),
                ],
                check=True,
                capture_output=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            ).stdout
        )
        for kind in ("float", "chip")
    ]
    return f"; peak {peaks[0] >> 20} and {peaks[1] >> 20} MiB, {peaks[1] / peaks[0]:.2f} times"


def _run_child(kind: str, model: str, program: str, batch: str) -> None:
    size = int(batch)
    runner = (
        _float_runner(Path(model), size, 2)
        if kind == "float"
        else _chip_runner(Path(program), size, 2)
    )
    for _ in range(3):
        runner()
    print(_peak_bytes())


def _peak_bytes() -> int:
    """Return this process's peak; ru_maxrss would count its parent's, from before the exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (text for text in status.splitlines() if text.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
