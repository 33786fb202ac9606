"""Small models of three scores, part of which stays on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from pathlib import Path

    import onnx


def model_bytes(graph: onnx.GraphProto) -> bytes:
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    return made.SerializeToString()


def odd_network(folder: Path, op: str) -> Path:
    """Write x → op(x) → 3 scores, where the operator stays on the CPU."""
    graph = helper.make_graph(
        [
            helper.make_node(op, ["x"], ["h"]),
            helper.make_node("MatMul", ["h", "w"], ["s"]),
            helper.make_node("Identity", ["s"], ["scores"]),
        ],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("w", TensorProto.FLOAT, [3, 3], np.eye(3, dtype=np.float32).ravel())],
    )
    path = folder / f"{op}.onnx"
    path.write_bytes(model_bytes(graph))
    return path
