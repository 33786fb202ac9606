"""One job of accuracy.py with AIMET-ONNX: needs AIMET, not lowbitc.

Quantizers stand where the chip has its own: none between a layer and its activation, 8 bits for the
network's input and for values behind no activation, none for the scores.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import aimet_onnx
import numpy as np
import onnx
from agreement import class_figures
from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight
from network_list import NETWORKS

Job = dict[str, Any]
_CLIPS = {"Relu", "Clip"}
_KEEPS = {"MaxPool", "Flatten", "Reshape", "Pad", "Transpose", "GlobalAveragePool", "AveragePool"}


def place_quantizers(sim: aimet_onnx.QuantizationSimModel, first: int) -> None:
    """Set the widths of a simulation's quantizers as the module says."""
    graph = sim.model.model.graph
    constants = {held.name for held in graph.initializer}
    held = sim.qc_quantize_op_dict
    plain = {f"{name}_updated": name for name in held} | {f"{name}_qdq": name for name in held}
    readers: dict[str, list[str]] = {}
    makers: dict[str, Any] = {}
    nodes = [n for n in graph.node if n.op_type != "QcQuantizeOp"]
    for node in nodes:
        makers.update(dict.fromkeys(node.output, node))
        for value in node.input:
            readers.setdefault(plain.get(value, value), []).append(node.op_type)
    layer = next(n for n in nodes if n.op_type in {"Conv", "Gemm", "MatMul"})
    held[plain.get(layer.input[1], layer.input[1])].set_bitwidth(first)
    ends = {output.name for output in graph.output} | {plain.get(o.name) for o in graph.output}
    for value, quantizer in held.items():
        if value in constants:
            continue
        maker = makers.get(value)
        kind = "" if maker is None else maker.op_type
        inside = kind not in _CLIPS and set(readers.get(value, ())) <= _CLIPS and value in readers
        if value in ends or inside or kind == "Softmax" or "Softmax" in readers.get(value, ()):
            quantizer.enabled = False
        elif kind not in _CLIPS and kind not in _KEEPS:
            quantizer.set_bitwidth(8)


def main() -> int:
    """Do the job that the first argument spells in JSON."""
    job: Job = json.loads(sys.argv[1])
    network = next(held for held in NETWORKS if held.name == job["network"])
    data = Path(job["data"])
    calib = network.make(job["calib"], 0, data).inputs
    count = len(next(iter(calib.values())))
    rows = [{k: v[i : i + 1] for k, v in calib.items()} for i in range(count)]
    first, weights, activations = (int(part) for part in job["bits"].split("/"))
    start = time.perf_counter()
    model = onnx.load(job["model"])
    fold_all_batch_norms_to_weight(model)
    sim = aimet_onnx.QuantizationSimModel(
        model,
        param_type=f"int{weights}",
        activation_type=f"int{activations}",
        quant_scheme="min_max",
        providers=["CPUExecutionProvider"],
    )
    place_quantizers(sim, first)
    if job["method"] == "aimet-adaround":
        aimet_onnx.apply_adaround(sim, rows, num_iterations=job["iterations"])
    sim.compute_encodings(rows)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    test = network.make(job["samples"] or sys.maxsize, 1, data)
    (value, images), *_ = test.inputs.items()
    parts = [sim.session.run(None, {value: images[i : i + 1]})[0] for i in range(len(images))]
    found = class_figures(np.load(job["scores"]), np.concatenate(parts), test.labels)
    print(json.dumps({**found, "seconds": seconds, "peak_mib": peak}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
