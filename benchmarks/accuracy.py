"""Measure accuracy after compilation: networks × bits × methods, in one run.

    python benchmarks/accuracy.py --zoo DIR [DIR ...] --data DIR [--only NAME ...]
        [--bits 8/4/4 ...] [--methods recipe data-free ...] [--calib 512] [--samples 0]
        [--results FILE] [--markdown FILE] [--aimet PYTHON]

--data holds NAME_calib.npz (x) and NAME_test.npz (x, y), as networks.py reads them. Methods are

    recipe        what `lowbitc compile` does when it has data
    nearest       --weights mse: clips and scales of least squared error, nearest levels
    sawb          --weights sawb
    data-free     what it does without data
    step-0 …      the recipe's steps, each with those before it (passes/recipes.py)
    onnxruntime   quantize_static, min-max, a scale a channel; its weights have 8 or 4 bits and its
                  activations 8, so at 8/8/8 and 4/4/8 only
    aimet-minmax, aimet-adaround
                  AIMET-ONNX in float simulation, a scale a channel; --aimet names the Python of an
                  environment that has it

Programs run from their bytes on the `fast` engine. Each compilation has a process of its own, whose
time and peak memory are told. With --results, rows are kept as JSON lines, and what is there is not
measured again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from network_list import NETWORKS, Network
from networks import find

from lowbitc.compiler.onnx_session import OnnxSession
from lowbitc.passes.recipes import LADDER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agreement import Array

Row = dict[str, Any]

LABELLED = (
    "digit_cnn",
    "digits32_vgg",
    "digits32_resnet8",
    "digits32_mobilenet",
    "tiny_resnet8",
    "efficientnet_lite0",
)
BITS = ("8/4/4", "8/2/4", "8/2/2", "2/2/2", "8/1/4")
STEPS = tuple(f"step-{index}" for index in range(len(LADDER)))
OURS = ("recipe", "nearest", "sawb", "data-free", *STEPS)
AIMET = ("aimet-minmax", "aimet-adaround")
METHODS = (*OURS, "onnxruntime", *AIMET)
_HERE = Path(__file__).parent


def float_scores(path: Path, network: Network, arguments: argparse.Namespace) -> Row:
    """Run the float network on the test samples; return its scores and the labels."""
    test = network.make(arguments.samples or sys.maxsize, 1, arguments.data)
    session = OnnxSession(path, threads=arguments.threads, fast=True)
    (name, images), *_ = test.inputs.items()
    found: list[Array] = []
    for start in range(0, len(images), 16):
        (scores,) = session.run({name: images[start : start + 16]}).values()
        found.append(np.asarray(scores, np.float32))
    return {"scores": np.concatenate(found), "labels": test.labels, "kind": test.kind}


def run_job(job: Row, python: str, script: str) -> Row:
    """Run one job in a process of its own; return what it found."""
    command = [python, str(_HERE / script), json.dumps(job)]
    ran = subprocess.run(  # noqa: S603 - this script's own parts
        command, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        lines = (ran.stderr.strip() or "no message").splitlines()
        return {"failed": lines[-1]}
    found: Row = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def measure(path: Path, network: Network, arguments: argparse.Namespace, done: set[Any]) -> None:
    """Measure one network with all bits and methods that are asked for."""
    pairs = itertools.product(arguments.methods, arguments.bits)
    wanted = [(m, b) for m, b in pairs if (network.name, m, b) not in done and possible(m, b)]
    if not wanted:
        return
    with tempfile.TemporaryDirectory() as folder:
        held = float_scores(path, network, arguments)
        kept = Path(folder) / "float.npy"
        np.save(kept, held["scores"])
        reached = float(np.mean(held["scores"].argmax(axis=1) == held["labels"]))
        for method, bits in wanted:
            job = {
                "model": str(path),
                "network": network.name,
                "data": str(arguments.data),
                "calib": arguments.calib,
                "samples": arguments.samples,
                "threads": arguments.threads,
                "scores": str(kept),
                "method": method,
                "bits": bits,
                "iterations": arguments.iterations,
            }
            aimet = method in AIMET
            python = arguments.aimet if aimet else sys.executable
            script = "accuracy_aimet.py" if aimet else "accuracy_job.py"
            row = {"network": network.name, "method": method, "bits": bits, "float": reached}
            row |= {"samples": len(held["scores"]), **run_job(job, python, script)}
            arguments.rows.append(row)
            print(spelled(row), flush=True)
            if arguments.results is not None:
                with arguments.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


def possible(method: str, bits: str) -> bool:
    """Whether a method can do these bits at all."""
    return method != "onnxruntime" or bits in {"8/8/8", "4/4/8"}


def spelled(row: Row) -> str:
    """Return a row as a line."""
    start = f"{row['network']} {row['method']} {row['bits']}: "
    if "failed" in row:
        return start + "FAILED: " + row["failed"]
    return start + (
        f"{row['top1']:.2%} (float {row['float']:.2%}), same class {row['same']:.2%}, "
        f"KL {row['divergence']:.3f}, {row['seconds']:.1f} s, {row['peak_mib']:.0f} MiB"
    )


def markdown(rows: list[Row], methods: Iterable[str]) -> str:
    """Return a table for each method: networks by bits, in per cent, with time and memory."""
    parts: list[str] = []
    for method in methods:
        held = [row for row in rows if row["method"] == method]
        bits = sorted({row["bits"] for row in held}, key=lambda b: (b not in BITS, b))
        bits.sort(key=lambda b: BITS.index(b) if b in BITS else -1)
        if not held:
            continue
        lines = [
            f"**{method}**\n",
            "| network | float | " + " | ".join(bits) + " | s | MiB |",
            "|---|---|" + "---|" * len(bits) + "---|---|",
        ]
        for name in dict.fromkeys(row["network"] for row in held):
            own = {row["bits"]: row for row in held if row["network"] == name}
            good = [row for row in own.values() if "top1" in row]
            cells = [
                f"{100 * own[b]['top1']:.2f}" if b in own and own[b] in good else "-" for b in bits
            ]
            time = f"{max((r['seconds'] for r in good), default=0):.0f}"
            peak = f"{max((r['peak_mib'] for r in good), default=0):.0f}"
            first = next(iter(own.values()))
            lines.append(
                f"| {name} | {100 * first['float']:.2f} | "
                + " | ".join((*cells, time, peak))
                + " |"
            )
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> int:
    """Measure; 1 when a job failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--zoo", type=Path, nargs="+", default=[Path()])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--bits", nargs="+", default=list(BITS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["recipe"])
    parser.add_argument("--calib", type=int, default=512)
    parser.add_argument("--samples", type=int, default=0, help="of the test; 0 for all")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--aimet", default=sys.executable)
    parser.add_argument("--iterations", type=int, default=10_000, help="of AdaRound, by layer")
    arguments = parser.parse_args()
    arguments.rows = []
    if arguments.results is not None and arguments.results.exists():
        kept = arguments.results.read_text(encoding="utf-8").splitlines()
        arguments.rows = [json.loads(line) for line in kept]
    done = {(r["network"], r["method"], r["bits"]) for r in arguments.rows}
    for network in NETWORKS:
        chosen = not arguments.only or any(part in network.name for part in arguments.only)
        if network.name not in LABELLED or not chosen:
            continue
        path = find(network, arguments.zoo)
        labels = path and network.make(1, 1, arguments.data).labels
        if path is None or labels is None:
            print(
                f"{network.name}: no {network.file} or no data ({network.origin})", file=sys.stderr
            )
            continue
        measure(path, network, arguments, done)
    if arguments.markdown is not None:
        arguments.markdown.write_text(markdown(arguments.rows, METHODS), encoding="utf-8")
    return int(any("failed" in row for row in arguments.rows))


if __name__ == "__main__":
    raise SystemExit(main())
