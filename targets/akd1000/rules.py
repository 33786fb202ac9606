"""What the AKD1000 runs: its published limits as rules on the folded float graph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.find_signs import never_negative
from lowbitc.targets.akd1000.layers import wiring
from lowbitc.targets.shared_rules import FRAMES_FIRST, GENERAL
from lowbitc.targets.spec import Rule

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

OPERATORS = frozenset(
    kind.op
    for kind in (
        ops.Conv,
        ops.Dense,
        ops.Relu,
        ops.Clamp,
        ops.MaxPool,
        ops.GlobalAveragePool,
        ops.Flatten,
        ops.Reshape,
        ops.Squeeze,
    )
)
WIDTHS = range(5, 257)
"""Columns of an image."""
LEAST_ROWS = 5
MOST_FILTERS = {1: {3: 512, 5: 192, 7: 96}, 3: {3: 192, 5: 64, 7: 32}}
"""Filters of the input layer, by channels of the image and side of the kernel."""
MOST_INPUTS = 57334
"""Inputs of a fully connected layer."""
_VECTOR = 2
_PLANE = 4


def _is_plane(graph: Graph, node: Node) -> bool:
    return len(graph.shape(node.inputs[0])) == _PLANE


def _is_input(graph: Graph, node: Node) -> bool:
    return _is_plane(graph, node) and node.name == wiring(graph).input_layer


def _two_dimensional(graph: Graph, node: Node) -> str:
    return "" if _is_plane(graph, node) else f"{len(graph.shape(node.inputs[0]))} dimensions"


# --- the input layer -----------------------------------------------------------------------------


def _image_size(graph: Graph, node: Node) -> str:
    if not _is_input(graph, node):
        return ""
    _, _, height, width = graph.shape(node.inputs[0])
    fits = width in WIDTHS and height >= LEAST_ROWS
    return "" if fits else f"{height} rows of {width} columns"


def _image_kernel(graph: Graph, node: Node) -> str:
    if not _is_input(graph, node) or not isinstance(node, ops.Conv):
        return ""
    square = len({*node.kernel}) == len({*node.stride}) == 1
    if not square or node.kernel[0] not in {3, 5, 7} or node.stride[0] not in {1, 2, 3}:
        return f"kernel {_by(node.kernel)}, stride {_by(node.stride)}"
    if {*node.dilation} != {1}:
        return f"dilation {_by(node.dilation)}"
    same = _same_pads(graph, node)
    return "" if node.pads in {same, (0, 0, 0, 0)} else _pads(node, f"{list(same)} or none")


def _image_filters(graph: Graph, node: Node) -> str:
    if not _is_input(graph, node) or not isinstance(node, ops.Conv):
        return ""
    channels = graph.shape(node.inputs[0])[1]
    most = MOST_FILTERS[channels].get(node.kernel[0], math.inf)
    filters = graph.shape(node.outputs[0])[1]
    if filters <= most:
        return ""
    return f"{filters} filters of {_by(node.kernel)} on {channels} channels, at most {most}"


# --- convolutions --------------------------------------------------------------------------------


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _pads(node: ops.Conv | ops.MaxPool, wanted: str) -> str:
    return f"pads {list(node.pads)} where it is {wanted}"


def _same_pads(graph: Graph, node: ops.Conv | ops.MaxPool) -> tuple[int, ...]:
    """Return the padding for which outputs = ⌈inputs / stride⌉, the odd one at the end."""
    size = graph.shape(node.inputs[0])[2:]
    total = [
        max((-(-n // s) - 1) * s + k - n, 0)
        for n, k, s in zip(size, node.kernel, node.stride, strict=True)
    ]
    return (*(t // 2 for t in total), *(t - t // 2 for t in total))


def _kernel(graph: Graph, node: Node) -> str:
    if _is_input(graph, node) or not _is_plane(graph, node) or not isinstance(node, ops.Conv):
        return ""
    sides = {3, 5, 7} if node.groups > 1 else {1, 3, 5, 7}
    if len({*node.kernel}) > 1 or node.kernel[0] not in sides:
        return f"kernel {_by(node.kernel)}"
    return f"dilation {_by(node.dilation)}" if {*node.dilation} != {1} else ""


def _stride(graph: Graph, node: Node) -> str:
    if _is_input(graph, node) or not isinstance(node, ops.Conv):
        return ""
    if node.stride in {(1, 1), (1,)} or (node.stride == (2, 2) and node.kernel == (3, 3)):
        return ""
    return f"stride {_by(node.stride)}, kernel {_by(node.kernel)}"


def _same(graph: Graph, node: Node) -> str:
    if _is_input(graph, node) or not _is_plane(graph, node) or not isinstance(node, ops.Conv):
        return ""
    wanted = _same_pads(graph, node)
    return "" if node.pads == wanted else _pads(node, f"{list(wanted)}")


def _separable(graph: Graph, node: Node) -> str:
    if not isinstance(node, ops.Conv) or node.groups == 1:
        return ""
    inputs, outputs = graph.shape(node.inputs[0])[1], graph.shape(node.outputs[0])[1]
    if not node.groups == inputs == outputs:
        return f"{node.groups} groups of {inputs} channels, {outputs} filters"
    after = wiring(graph).pointwise_behind(node)
    if after is None:
        readers = wiring(graph).readers.get(node.outputs[0], [])
        return f"followed by {', '.join(r.op for r in readers) or 'nothing'}"
    return f"the 1x1 convolution {after.name} is on the CPU" if _away(graph, after) else ""


def _in_separable(graph: Graph, node: Node) -> str:
    """Tell the halves of separable layers."""
    if not isinstance(node, ops.Conv):
        return ""
    half = node.groups > 1 or wiring(graph).depthwise_before(node) is not None
    return "separable" if half else ""


def _in_conv(graph: Graph, node: Node) -> str:
    return "" if _is_input(graph, node) or _in_separable(graph, node) else "convolution"


# --- activations and pools -----------------------------------------------------------------------


def _away(graph: Graph, node: Node) -> bool:
    return node.name in graph.host_reasons


def _activation(graph: Graph, node: Node) -> str:
    if isinstance(node, ops.Clamp) and not (node.low == 0 < node.high):
        return f"clip to {node.low:g} … {node.high:g}"
    before = wiring(graph).maker(node.inputs[0])
    if not isinstance(before, (ops.Conv, ops.Dense, ops.GlobalAveragePool)):
        return f"behind {_named(graph, node.inputs[0])}"
    return f"{before.name} is on the CPU" if _away(graph, before) else ""


def _named(graph: Graph, value: str) -> str:
    maker = wiring(graph).makers.get(value)
    if maker is None:
        return f"the input {value}"
    readers = len(wiring(graph).readers.get(value, ()))
    return f"{maker.op} {maker.name}" + (f", which {readers} nodes read" if readers > 1 else "")


def _convolution_before(graph: Graph, node: Node) -> ops.Conv | None:
    """Return the convolution that a pool is part of, perhaps through its activation."""
    before = wiring(graph).maker(node.inputs[0])
    if isinstance(before, (ops.Relu, ops.Clamp)) and not _away(graph, before):
        before = wiring(graph).maker(before.inputs[0])
    return before if isinstance(before, ops.Conv) and not _away(graph, before) else None


def _part_of_convolution(graph: Graph, node: Node) -> str:
    fused = _convolution_before(graph, node) is not None
    return "" if fused else f"behind {_named(graph, node.inputs[0])}"


def _pool_window(graph: Graph, node: Node) -> str:
    if not isinstance(node, ops.MaxPool) or not _is_plane(graph, node):
        return ""
    before = _convolution_before(graph, node)
    shown = f"size {_by(node.kernel)}, stride {_by(node.stride)}"
    if before is not None and _is_input(graph, before):
        held = {*node.kernel} <= {1, 2} and node.stride == node.kernel
    else:
        held = node.kernel in {(1, 1), (2, 2)} and node.stride in {(1, 1), (2, 2)}
        held = held and node.stride <= node.kernel
    if not held or {*node.dilation} != {1}:
        return shown
    padded = node.pads not in {(0, 0, 0, 0), _same_pads(graph, node)}
    return _pads(node, "none or same") if padded else ""


def _convolution_behind(graph: Graph, node: Node) -> str:
    readers = wiring(graph).readers.get(node.outputs[0], [])
    other = [r for r in readers if not isinstance(r, ops.Conv) or _away(graph, r)]
    if readers and not other and node.outputs[0] not in graph.outputs:
        return ""
    return f"followed by {', '.join(r.op for r in other) or 'nothing'}"


def _mean(graph: Graph, node: Node) -> str:
    if not _is_plane(graph, node):
        return ""
    _, _, height, width = graph.shape(node.inputs[0])
    return "" if 1 <= width <= 32 and height >= 3 else f"{height} rows of {width} columns"  # noqa: PLR2004


# --- dense layers and what lies between layers ---------------------------------------------------


def _inputs(graph: Graph, node: Node) -> str:
    shape = graph.shape(node.inputs[0])
    if len(shape) != _VECTOR:
        return f"{len(shape)} dimensions"
    return "" if shape[-1] <= MOST_INPUTS else f"{shape[-1]:,} inputs"


def _to_vector(graph: Graph, node: Node) -> str:
    after = graph.shape(node.outputs[0])
    if len(after) != _VECTOR:
        return f"shape {list(graph.shape(node.inputs[0]))} to {list(after)}"
    readers = wiring(graph).readers.get(node.outputs[0], [])
    other = [r for r in readers if not isinstance(r, ops.Dense) or _away(graph, r)]
    if not readers or other:
        return f"followed by {', '.join(r.op for r in other) or 'nothing'}"
    return ""


def _unsigned(graph: Graph, node: Node) -> str:
    value = node.inputs[0]
    makers = wiring(graph).makers
    if _is_input(graph, node) or never_negative(value, makers.get, graph.constants.get):
        return ""
    if isinstance(node, ops.Conv):
        before = wiring(graph).depthwise_before(node)
        if before is not None and not _away(graph, before):
            return ""
    return f"{_named(graph, value)} may be negative"


_LIMITS = "Akida 1.0 hardware constraints"
_LAYERS = "Akida 1.0 hardware constraints, older edition"
_USE = "Akida user guide, layers of version 1"
_CPU = "it runs on the CPU"
_CONV = (ops.Conv.op,)
_POOLS = (ops.MaxPool.op, ops.GlobalAveragePool.op)
_SIDES = "pad the kernel with zeros to the next allowed size"

RULES: tuple[Rule, ...] = (
    *GENERAL,
    Rule(
        "LB213",
        "Convolutions and pools have 2 spatial dimensions",
        "write a sequence as an image of one row or column and a kernel of 3x3",
        (*_CONV, *_POOLS),
        _two_dimensional,
        source=_LIMITS,
    ),
    Rule(
        "LB243",
        "Images for the input layer are 5 to 256 columns wide and at least 5 rows high",
        "resize or cut the image",
        _CONV,
        _image_size,
        source=_LIMITS,
    ),
    Rule(
        "LB244",
        "The input layer's kernel is 3x3, 5x5 or 7x7, its stride 1, 2 or 3, its padding same or "
        "none",
        "train with such a kernel; same padding puts the odd row and column at the end",
        _CONV,
        _image_kernel,
        source=_LIMITS,
    ),
    Rule(
        "LB245",
        "The input layer has at most 512, 192 or 96 filters of 3x3, 5x5 or 7x7 on 1 channel, "
        "and 192, 64 or 32 on 3",
        "give it fewer filters, or a smaller kernel",
        _CONV,
        _image_filters,
        source=_LIMITS,
    ),
    Rule(
        "LB246",
        "Kernels are 1x1, 3x3, 5x5 or 7x7, depthwise ones 3x3, 5x5 or 7x7, without dilation",
        _SIDES,
        _CONV,
        _kernel,
        source=_LIMITS,
    ),
    Rule(
        "LB247",
        "The stride is 1, or 2 with a 3x3 kernel",
        "use a 3x3 kernel where the stride is 2",
        _CONV,
        _stride,
        source=_LAYERS,
    ),
    Rule(
        "LB248",
        "Padding is same: outputs = inputs / stride, rounded up, the odd row and column at the end",
        "export with same padding (auto_pad SAME_UPPER); symmetric padding at stride 2 is not same",
        _CONV,
        _same,
        source=_LIMITS,
    ),
    Rule(
        "LB249",
        "A depthwise convolution has one filter a channel and a 1x1 convolution directly behind "
        "it: a separable layer",
        "train with separable convolutions, without an activation between the two halves",
        _CONV,
        _separable,
        depends=True,
        source=_USE,
    ),
    Rule(
        "LB280",
        "Weights of a separable layer have 2 or 4 bits",
        "give the layer 2 or 4 bits in lowbitc.toml",
        _CONV,
        _in_separable,
        weight_bits=(2, 4),
        source=_LIMITS,
    ),
    Rule(
        "LB280",
        "Weights of a convolution have 1, 2 or 4 bits; only those of the input layer may have 8",
        "give the layer 4 bits in lowbitc.toml",
        _CONV,
        _in_conv,
        weight_bits=(1, 2, 4),
        source=_LIMITS,
    ),
    Rule(
        "LB281",
        "An activation is a ReLU, perhaps with an upper bound, directly behind a layer",
        "put the ReLU directly behind a convolution, dense layer or global average pool",
        (ops.Relu.op, ops.Clamp.op),
        _activation,
        depends=True,
        source=_USE,
    ),
    Rule(
        "LB282",
        "A pool is part of the convolution before it",
        "put the pool directly behind a convolution on the chip",
        _POOLS,
        _part_of_convolution,
        depends=True,
        source=_LIMITS,
    ),
    Rule(
        "LB283",
        "Max pools are 1x1 or 2x2, their stride 1 or 2 and no larger; behind the input layer 1x1, "
        "1x2, 2x1 or 2x2 with the stride of their size",
        "use a pool of 2x2, or a convolution of stride 2",
        (ops.MaxPool.op,),
        _pool_window,
        depends=True,
        source=_LIMITS,
    ),
    Rule(
        "LB284",
        "A max pool is followed by a convolution",
        "put a convolution behind the pool, or use a convolution of stride 2 in its place",
        (ops.MaxPool.op,),
        _convolution_behind,
        depends=True,
        source=_LAYERS,
    ),
    Rule(
        "LB286",
        "A global average pool is over at most 32 columns and at least 3 rows",
        "pool by convolutions of stride 2 before it",
        (ops.GlobalAveragePool.op,),
        _mean,
        source=_LAYERS,
    ),
    Rule(
        "LB287",
        f"A dense layer reads a vector of at most {MOST_INPUTS:,} inputs",
        "pool before the layer",
        (ops.Dense.op,),
        _inputs,
        source=_LIMITS,
    ),
    Rule(
        "LB288",
        "Layout changes only to a vector for a dense layer",
        _CPU,
        (ops.Flatten.op, ops.Reshape.op, ops.Squeeze.op),
        _to_vector,
        depends=True,
        source=_USE,
    ),
    Rule(
        "LB289",
        "What a layer reads is never negative, but for an image of 1 or 3 channels and within a "
        "separable layer",
        "put a ReLU before the layer",
        (ops.Conv.op, ops.Dense.op),
        _unsigned,
        depends=True,
        source=_LIMITS,
    ),
    FRAMES_FIRST,
)
