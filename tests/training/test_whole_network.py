"""Training sees through what the CPU runs: the outputs that it computes are the program's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.compiler.ir.graph import Graph

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.compilation import Retraining, compile_with  # noqa: E402 - after the check for torch
from lowbitc.compiler.manager import PassResult  # noqa: E402
from lowbitc.options import settle as settle_options  # noqa: E402
from lowbitc.targets.engines.simulator import Simulator  # noqa: E402
from lowbitc.training.network import QuantizedNetwork  # noqa: E402
from lowbitc.training.quantizers import WeightMethod  # noqa: E402
from lowbitc.training.straight_through import ClipGradient  # noqa: E402
from lowbitc.training.whole_network import WholeNetwork, is_whole  # noqa: E402
from lowbitc.training.write_back import settle, write_back  # noqa: E402
from lowbitc.tuning import Training, tune  # noqa: E402

WIDTH, CHANNELS, HIDDEN, CLASSES = 12, 6, 5, 4


def reader(folder: Path, cell: str = "GRU") -> Path:
    """Write a line reader: a convolution, a recurrent layer in both directions, a dense layer."""
    random = np.random.default_rng(0)
    gates = {"GRU": 3, "RNN": 1}[cell] * HIDDEN
    arrays = {
        "k": random.normal(0, 0.4, (CHANNELS, 1, 8, 3)),
        "w": random.normal(0, 0.6, (2, gates, CHANNELS)),
        "r": random.normal(0, 0.6, (2, gates, HIDDEN)),
        "b": random.normal(0, 0.2, (2, 2 * gates)),
        "d": random.normal(0, 0.6, (2 * HIDDEN, CLASSES)),
    }
    extra = {"linear_before_reset": 1} if cell == "GRU" else {}
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], "conv", pads=[0, 1, 0, 1]),
        helper.make_node("Relu", ["c"], ["a"], "relu"),
        helper.make_node("Squeeze", ["a", "two"], ["s"], "squeeze"),
        helper.make_node("Transpose", ["s"], ["t"], "turn", perm=[2, 0, 1]),
        helper.make_node(
            cell,
            ["t", "w", "r", "b"],
            ["y"],
            "rnn",
            hidden_size=HIDDEN,
            direction="bidirectional",
            **extra,
        ),
        helper.make_node("Transpose", ["y"], ["u"], "join", perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["u", "flat"], ["f"], "flatten"),
        helper.make_node("MatMul", ["f", "d"], ["scores"], "head"),
    ]
    weights = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in arrays.items()]
    weights.append(numpy_helper.from_array(np.array([2], np.int64), "two"))
    weights.append(numpy_helper.from_array(np.array([WIDTH, 1, 2 * HIDDEN], np.int64), "flat"))
    graph = helper.make_graph(
        nodes,
        "reader",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, WIDTH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [WIDTH, 1, CLASSES])],
        weights,
    )
    path = folder / "reader.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def lines(count: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    shape = (count, 1, 8, WIDTH)
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


@dataclass(frozen=True)
class Look:
    """A pass in the place of training: keep what the whole network computes."""

    name: ClassVar[str] = "look"
    x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    seen: dict[str, object] = field(default_factory=dict[str, object])

    def run(self, graph: Graph, /) -> PassResult:
        bits = self.seen["bits"]
        network = QuantizedNetwork(graph, bits, WeightMethod.LSQ, ClipGradient.PACT)  # type: ignore[arg-type]
        self.seen["whole"] = is_whole(network)
        settle(network)
        if self.seen["whole"]:
            with torch.no_grad():
                found = WholeNetwork(network).double()({"x": torch.as_tensor(self.x).double()})
            self.seen["scores"] = found["scores"].numpy()
        return PassResult(write_back(network), changed=True)


def compiled(path: Path, look: Look) -> Simulator:
    np.savez(path.parent / "calib.npz", x=lines(64, 0))
    options = settle_options(path, calib=path.parent / "calib.npz", bits="8/4/4", threads=1)
    look.seen["bits"] = options.bits
    made = compile_with(path, options, training=Retraining(lambda _start: look, "look"))
    return Simulator(made.program, "fast", threads=1)


def test_what_training_computes_through_the_recurrence_is_what_the_program_computes(
    tmp_path: Path,
) -> None:
    look = Look(lines(16, 1))
    simulator = compiled(reader(tmp_path), look)
    (scores,) = simulator.run({"x": look.x}).values()
    assert look.seen["whole"]
    own = np.reshape(look.seen["scores"], scores.shape)
    # The CPU computes in float32; what differs may move a level at the border to the chip.
    assert np.abs(own - scores).max() < 0.05 * np.abs(scores).max()
    assert np.median(np.abs(own - scores)) < 1e-6


def test_a_network_with_an_operator_that_is_not_known_is_trained_up_to_the_border(
    tmp_path: Path,
) -> None:
    look = Look(lines(16, 1))
    compiled(reader(tmp_path, "RNN"), look)
    assert not look.seen["whole"]


def test_tuning_brings_the_outputs_behind_a_recurrent_layer_closer(tmp_path: Path) -> None:
    path = reader(tmp_path)
    x, tested = lines(256, 2), lines(256, 3)
    np.savez(tmp_path / "train.npz", x=x)
    session = onnx_outputs(path, tested)
    gaps = []
    for epochs, rate in ((1, 1e-9), (12, 0.02)):
        made = tune(
            path,
            tmp_path / "train.npz",
            training=Training(epochs=epochs, batch=16, learning_rate=rate),
            bits="2/2/2",
            threads=1,
        )
        program = made.compilation.program
        (found,) = Simulator(program, "fast", threads=1).run({"x": tested}).values()
        gaps.append(float(np.square(found.reshape(session.shape) - session).mean()))
    assert gaps[1] < 0.8 * gaps[0]


def onnx_outputs(
    path: Path, x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    from lowbitc.compiler.onnx_session import OnnxSession  # noqa: PLC0415 - for this alone

    session = OnnxSession(path, threads=1)
    return np.concatenate([np.asarray(session.run({"x": one[None]})["scores"]) for one in x])
