"""What lb1 runs: rules on the folded float graph, in the order in which they are reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import F32, LevelType
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, reads
from lowbitc.compiler.ir.types import OpaqueType
from lowbitc.targets.spec import ANY, Rule

if TYPE_CHECKING:
    from lowbitc.compiler.ir.node import Node

WEIGHTED = (ops.Conv, ops.ConvTranspose, ops.Dense)
PRODUCTS = (ops.MatMul, ops.Gemm)
"""What runs as Dense when its weights are a constant matrix."""
WINDOWED = (ops.Conv, ops.ConvTranspose, ops.MaxPool, ops.AveragePool)
ACTIVATIONS = (
    ops.Relu,
    ops.Clamp,
    ops.Bound,
    ops.Sigmoid,
    ops.Tanh,
    ops.Silu,
    ops.Gelu,
    ops.HardSwish,
    ops.HardSigmoid,
    ops.LeakyRelu,
    ops.Elu,
    ops.Softplus,
    ops.Erf,
)
MOVES = (
    ops.Reshape,
    ops.Flatten,
    ops.Squeeze,
    ops.Unsqueeze,
    ops.Transpose,
    ops.Slice,
    ops.Upsample,
    ops.Pad,
)
POOLS = (ops.MaxPool, ops.AveragePool, ops.GlobalAveragePool, ops.GlobalMaxPool)
OPERATORS = frozenset(
    kind.op
    for kind in (
        *WEIGHTED,
        *PRODUCTS,
        *POOLS,
        *ACTIVATIONS,
        *MOVES,
        ops.Add,
        ops.Concat,
        ops.ScaleShift,
    )
)
_SPATIAL = (1, 2)
_RANKS = (2, 6)


def _tensors(graph: Graph, node: Node) -> str:
    for value in (*reads(node), *node.outputs):
        held = graph.types.get(value)
        if isinstance(held, OpaqueType):
            return f"{value} is no tensor"
        if held is None or not held.known:
            return f"the shape of {value} depends on the data"
        if 0 in held.dims:
            return f"{value} has no elements: shape {list(held.dims)}"
    return ""


def _floats(graph: Graph, node: Node) -> str:
    for value in (*reads(node), *node.outputs):
        element = graph.tensor(value).element
        if element != F32 and not isinstance(element, LevelType):
            return f"{value} is {element.name}"
    return ""


def _frames_first(graph: Graph, node: Node) -> str:
    for value in (*_data(graph, node), *node.outputs):
        if not _RANKS[0] <= len(graph.shape(value)) <= _RANKS[1]:
            return f"{value} has {len(graph.shape(value))} dimensions"
    return ""


def _data(graph: Graph, node: Node) -> tuple[str, ...]:
    """Return the inputs that are no constants."""
    return tuple(v for v in reads(node) if v not in graph.constants)


def _constant_weights(graph: Graph, node: Node) -> str:
    computed = [v for v in node.inputs[1:] if v and v not in graph.constants]
    return f"{computed[0]} is computed" if computed else ""


def _constant_matrix(graph: Graph, node: Node) -> str:
    """Refuse what canonical form has not made a Dense: always, since nothing else is left."""
    computed = [v for v in node.inputs[:2] if v not in graph.constants]
    if len(computed) > 1 or node.inputs[0] in graph.constants:
        return f"{computed[-1]} is computed" if computed else "two constants"
    return f"{node.inputs[1]} of shape {list(graph.shape(node.inputs[1]))}"


def _finite_weights(graph: Graph, node: Node) -> str:
    for value in node.inputs[1:]:
        array = graph.constants.get(value)
        if array is not None and not np.isfinite(np.asarray(array, np.float64)).all():
            return f"{value} holds NaN or infinities"
    return ""


def _computed_input(graph: Graph, node: Node) -> str:
    return "" if node.inputs[0] not in graph.constants else f"{node.inputs[0]} is a constant"


def _spatial(graph: Graph, node: Node) -> str:
    rank = len(graph.shape(node.inputs[0])) - 2
    return "" if rank in _SPATIAL else f"{rank} spatial dimensions"


def _no_padding_only(graph: Graph, node: Node) -> str:
    """Refuse windows of a max pool that may see nothing but padding."""
    if not isinstance(node, ops.MaxPool):
        return ""
    size = graph.shape(node.inputs[0])[2:]
    rank = len(size)
    for k, d, n, begin, end in zip(
        node.kernel, node.dilation, size, node.pads[:rank], node.pads[rank:], strict=True
    ):
        dilated = d > 1 and (begin or end or node.ceil_mode)
        if max(begin, end) >= k or (dilated and d * (k - 1) + 1 > n):
            return f"kernel {k}, dilation {d}, pads {begin} and {end} on {n}"
    return ""


def _whole_windows(graph: Graph, node: Node) -> str:
    """Refuse average pools whose divisor is not the same everywhere."""
    if not isinstance(node, ops.AveragePool):
        return ""
    if any(node.pads) and not node.count_padding:
        return f"pads {list(node.pads)} that do not count"
    if set(node.dilation) - {1}:
        return f"dilation {list(node.dilation)}"
    rank = len(node.kernel)
    size, out = graph.shape(node.inputs[0])[2:], graph.shape(node.outputs[0])[2:]
    for n, o, k, s, begin, end in zip(
        size, out, node.kernel, node.stride, node.pads[:rank], node.pads[rank:], strict=True
    ):
        if (o - 1) * s + k > n + begin + end:
            return "ceil_mode adds windows that are cut off"
    return ""


def _same_shapes(graph: Graph, node: Node) -> str:
    constant = [v for v in node.inputs if v in graph.constants]
    if constant:
        return f"{constant[0]} is a constant"
    a, b = (graph.shape(v) for v in node.inputs)
    return "" if a == b else f"shapes {list(a)} and {list(b)}"


def _no_constants(graph: Graph, node: Node) -> str:
    constant = [v for v in node.inputs if v in graph.constants]
    return f"{constant[0]} is a constant" if constant else ""


def _not_frames(graph: Graph, node: Node) -> str:
    """Refuse layout changes that touch the first dimension, which counts frames."""
    x, y = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    touched = x[:1] != y[:1]
    if isinstance(node, ops.Concat):
        touched = node.axis == 0
    elif isinstance(node, ops.Transpose):
        touched = node.perm[0] != 0
    elif isinstance(node, ops.Slice):
        touched = 0 in node.axes
    return f"shapes {list(x)} to {list(y)}" if touched else ""


def _ahead(graph: Graph, node: Node) -> str:
    del graph
    backwards = isinstance(node, ops.Slice) and min(node.steps, default=1) < 1
    return f"steps {list(node.steps)}" if backwards and isinstance(node, ops.Slice) else ""


def _zero_pad(graph: Graph, node: Node) -> str:
    del graph
    if not isinstance(node, ops.Pad):
        return ""
    if node.mode != "constant":
        return f"mode {node.mode}"
    if min(node.pads) < 0:
        return f"pads {list(node.pads)}"
    return f"value {node.value}" if node.value else ""


def _by_channel(graph: Graph, node: Node) -> str:
    """Refuse a ScaleShift whose constants are not one a channel."""
    channels = graph.shape(node.inputs[0])[1:2]
    for value in node.inputs[1:]:
        array = graph.constants.get(value)
        if array is None or array.shape != channels:
            return f"{value} of shape {list(graph.shape(value))}"
    return ""


_CPU = "it runs on the CPU"
_EXPORT = "export the model with fixed shapes, or give them with --shape"

RULES: tuple[Rule, ...] = (
    Rule("LB201", "Shapes are fixed when the program is compiled", _EXPORT, (ANY,), _tensors),
    Rule("LB202", "Values are float32 before quantization", _CPU, (ANY,), _floats),
    Rule(
        "LB203",
        "Values have 2 to 6 dimensions, frames first",
        "reshape the value to frames x features",
        (ANY,),
        _frames_first,
    ),
    Rule(
        "LB210",
        "Weights and biases are constants of the model",
        "products of two activations run on the CPU",
        tuple(k.op for k in WEIGHTED),
        _constant_weights,
    ),
    Rule(
        "LB210",
        "The right side of a product is a constant matrix",
        "products of two activations run on the CPU",
        tuple(k.op for k in PRODUCTS),
        _constant_matrix,
    ),
    Rule(
        "LB211",
        "Weights and biases are finite",
        "look at the training run: the model holds NaN or infinities",
        tuple(k.op for k in WEIGHTED),
        _finite_weights,
    ),
    Rule(
        "LB212",
        "The input of a layer is an activation",
        "what depends on constants only is best computed before export",
        tuple(k.op for k in (*WEIGHTED, *POOLS, *ACTIVATIONS, *MOVES, ops.ScaleShift)),
        _computed_input,
    ),
    Rule(
        "LB213",
        "Convolutions and pools have 1 or 2 spatial dimensions",
        "a kernel of depth 1 can be written with 2 dimensions",
        tuple(k.op for k in (*WINDOWED, ops.GlobalAveragePool, ops.GlobalMaxPool)),
        _spatial,
    ),
    Rule(
        "LB220",
        "Every window of a max pool sees at least one input",
        "pad less than the kernel",
        (ops.MaxPool.op,),
        _no_padding_only,
    ),
    Rule(
        "LB221",
        "All windows of an average pool have one divisor: no padding, or padding that counts",
        "export with count_include_pad=True, or without padding",
        (ops.AveragePool.op,),
        _whole_windows,
    ),
    Rule(
        "LB230",
        "Add takes two activations of one shape",
        "constants and channels are added by bias or batch norm; other broadcasting is on the CPU",
        (ops.Add.op,),
        _same_shapes,
    ),
    Rule("LB231", "Concat joins activations", _CPU, (ops.Concat.op,), _no_constants),
    Rule(
        "LB232",
        "A scale and shift has one constant a channel",
        _CPU,
        (ops.ScaleShift.op, ops.Bound.op),
        _by_channel,
    ),
    Rule(
        "LB240",
        "Changes of layout leave the first dimension, which counts frames, as it is",
        _CPU,
        tuple(k.op for k in (*MOVES, ops.Concat)),
        _not_frames,
    ),
    Rule("LB241", "Slices go forwards", _CPU, (ops.Slice.op,), _ahead),
    Rule("LB242", "Padding is with zeros and adds only", _CPU, (ops.Pad.op,), _zero_pad),
)
