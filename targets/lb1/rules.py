"""What lb1 runs: rules on the folded float graph, in the order in which they are reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.groups import ACTIVATIONS, MOVES, POOLS, PRODUCTS, WEIGHTED, WINDOWED
from lowbitc.compiler.numerics.pool_divisors import pool_divisor
from lowbitc.targets.shared_rules import FRAMES_FIRST, GENERAL
from lowbitc.targets.spec import Rule

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

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


_LARGEST_DIVISOR = 1 << 22
"""Sums of 8-bit levels times the divisor stay within half of int32's range."""


def _whole_windows(graph: Graph, node: Node) -> str:
    """Refuse average pools whose windows have no common divisor that the sums leave room for."""
    if not isinstance(node, ops.AveragePool):
        return ""
    if set(node.dilation) - {1}:
        return f"dilation {list(node.dilation)}"
    rank = len(node.kernel)
    size, out = graph.shape(node.inputs[0])[2:], graph.shape(node.outputs[0])[2:]
    common = pool_divisor(node, size, out)
    if common > _LARGEST_DIVISOR:
        return f"pads {list(node.pads)} that do not count, so windows share no divisor but {common}"
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

RULES: tuple[Rule, ...] = (
    *GENERAL,
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
        "Windows of an average pool are whole and share a divisor of at most 2^22",
        "export with ceil_mode=False; with count_include_pad=True where padding is wide",
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
    FRAMES_FIRST,
    Rule("LB241", "Slices go forwards", _CPU, (ops.Slice.op,), _ahead),
    Rule("LB242", "Padding is with zeros and adds only", _CPU, (ops.Pad.op,), _zero_pad),
)
