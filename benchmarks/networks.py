"""Compile networks that others made, run them, and compare with the float networks.

    python benchmarks/networks.py --zoo DIR [DIR ...] [--data DIR] [--only NAME ...]
        [--bits 8/8/8] [--calib 64] [--samples 64] [--markdown FILE]

Networks are looked for by file name in the folders of --zoo and, for the "light" ones, in the
installed onnx package; ``network_list.py`` says which package holds each. --data may hold
``mnist``, ``cifar``, ``digits32`` and ``imagenet``, each as NAME_calib.npz (x) and NAME_test.npz
(x, y) in the network's own layout; without it images are made up. A network that is not there is
named and skipped. Captchas need PyPI's captcha, rendered text needs Pillow.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from agreement import MEASURES, Array, read_ctc, sqnr_db
from network_list import NETWORKS, Network, Samples

from lowbitc.compilation import compile_with
from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.onnx_session import OnnxSession
from lowbitc.options import settle
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.shares import device_shares

if TYPE_CHECKING:
    from lowbitc.targets.program.program import Program


@dataclass(frozen=True)
class Row:
    """What one network gave."""

    network: Network
    data: str
    launches: int
    mac_share: float
    cpu: str
    sqnr: float
    agreement: float | None
    accuracy: tuple[float | None, float | None]
    compared: tuple[int, bool]
    compile_seconds: float
    images_per_second: float


def find(network: Network, folders: list[Path]) -> Path | None:
    """Return the network's file, or None."""
    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    held = (folder / network.file for folder in (*folders, light))
    return next((path for path in held if path.exists()), None)


def run_float(
    path: Path, shapes: dict[str, tuple[int, ...]], samples: Samples, output: str
) -> Array:
    """Return an output for each sample, as the program's simulator lays it out."""
    session = OnnxSession(path, threads=1, fast=True)
    count = len(next(iter(samples.inputs.values())))
    found: list[Array] = []
    for index in range(count):
        feeds = {k: v[index].reshape(shapes[k]) for k, v in samples.inputs.items()}
        found.append(np.asarray(session.run(feeds, [output])[output], np.float64))
    return np.concatenate(found) if found[0].shape[:1] == (1,) else np.stack(found)


def cpu_operators(program: Program) -> str:
    """Return the operators on the CPU with their reasons' codes, the most frequent first."""
    counted = Counter(
        (node.op, node.reason.partition(":")[0])
        for step in program.host_steps
        for node in step.nodes
    )
    return ", ".join(
        f"{op} {code}" + (f" ×{count}" if count > 1 else "")
        for (op, code), count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    )


def top1(scores: Array, labels: Array) -> float:
    """Return the share of samples whose label has the highest score."""
    return float(np.mean(np.equal(scores.reshape(len(scores), -1).argmax(axis=1), labels)))


def accuracy(network: Network, scores: Array, samples: Samples) -> float | None:
    """Return the share of right classes, or of right texts; None without labels."""
    if samples.labels is not None:
        return top1(scores, samples.labels)
    if not network.letters:
        return None
    paths = read_ctc(scores, network.letters.index("_"))
    texts = ["".join(network.letters[c] for c in path) for path in paths]
    return float(np.mean([a == b for a, b in zip(texts, samples.texts, strict=True)]))


def measure(network: Network, path: Path, arguments: argparse.Namespace) -> Row:
    """Compile and run one network."""
    calib = network.make(arguments.calib, 0, arguments.data)
    test = network.make(arguments.samples, 1, arguments.data)
    options = settle(
        None,
        calib=dict(calib.inputs),
        bits=arguments.bits,
        shapes=network.shapes,
        threads=arguments.threads,
    )
    start = time.perf_counter()
    program = compile_with(path, options).program
    seconds = time.perf_counter() - start
    shapes = {port.name: port.shape or () for port in program.inputs}
    name = network.output or program.outputs[0].name
    wanted = run_float(path, shapes, test, name)
    fast = Simulator(program, "fast", threads=arguments.threads)
    start = time.perf_counter()
    outputs = fast.run(test.inputs)
    speed = len(wanted) / (time.perf_counter() - start)
    found = np.asarray(outputs[name], np.float64)
    few = {k: v[: arguments.compared] for k, v in test.inputs.items()}
    small = fast.run(few)
    reference = Simulator(program, "reference", threads=arguments.threads).run(few)
    equal = all(np.array_equal(small[port.name], reference[port.name]) for port in program.outputs)
    equal = equal and np.array_equal(small[name], outputs[name][: arguments.compared])
    shares = device_shares(program)
    return Row(
        network,
        test.kind,
        shares.launches,
        shares.mac_share,
        cpu_operators(program),
        sqnr_db(wanted, found),
        MEASURES[network.measure](wanted, found) if network.measure else None,
        (accuracy(network, wanted, test), accuracy(network, found, test)),
        (arguments.compared, equal),
        seconds,
        speed,
    )


def spelled(row: Row) -> list[str]:
    """Return a row's cells."""
    held = row.network
    return [
        held.name,
        held.origin,
        row.data,
        str(row.launches),
        f"{100 * row.mac_share:.1f} %",
        row.cpu or "-",
        f"{row.sqnr:.1f} dB",
        f"{held.measure} {row.agreement:.3f}" if row.agreement is not None else "-",
        "-" if None in row.accuracy else "{:.2%} → {:.2%}".format(*row.accuracy),
        f"{row.compared[0]}, {'equal' if row.compared[1] else 'DIFFERENT'}",
        f"{row.compile_seconds:.1f} s",
    ]


HEADS = (
    "network",
    "from",
    "samples",
    "launches",
    "MACs on the chip",
    "on the CPU, with the reason",
    "SQNR",
    "agreement",
    "accuracy, float → program",
    "`reference` and `fast`",
    "compiled in",
)


def markdown(rows: list[Row]) -> str:
    """Return the table."""
    lines = ["| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
    lines += ["| " + " | ".join(spelled(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure what is there; 1 when a network failed or its engines differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--zoo", type=Path, nargs="+", default=[Path()])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--bits", default="8/8/8")
    parser.add_argument("--calib", type=int, default=64)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--compared", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    rows: list[Row] = []
    failed = False
    for network in NETWORKS:
        if arguments.only and not any(part in network.name for part in arguments.only):
            continue
        path = find(network, arguments.zoo)
        if path is None:
            print(f"{network.name}: no {network.file} ({network.origin})", file=sys.stderr)
            continue
        try:
            row = measure(network, path, arguments)
        except CompileError as problem:
            failed = True
            print(f"{network.name}: FAILED: {problem}")
            continue
        failed = failed or not row.compared[1]
        rows.append(row)
        print(" | ".join(spelled(row)), f"| {row.images_per_second:.1f}/s", flush=True)
        if arguments.markdown is not None:
            arguments.markdown.write_text(markdown(rows), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
