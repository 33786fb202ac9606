"""Float operators that lowbitc understands; attributes are normalised over all opsets.

Layouts are ONNX's: activations N,C,spatial…; convolution weights O,I/groups,kernel…. ``pads``
hold all begins, then all ends, as ONNX does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lowbitc.compiler.ir.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOp(Node):
    """An operator kept whole, as its ONNX NodeProto's bytes, to run on the CPU.

    ``captures`` are the outer values that its subgraphs read; they are not among ``inputs``.
    """

    op: ClassVar[str] = "HostOp"
    domain: str
    op_type: str
    proto: bytes
    captures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv(Node):
    """Convolution; inputs x, w and, where it has one, b."""

    op: ClassVar[str] = "Conv"
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    groups: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvTranspose(Node):
    """Transposed convolution; inputs x, w (layout I,O/groups,kernel…) and perhaps b."""

    op: ClassVar[str] = "ConvTranspose"
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm(Node):
    """y = alpha · a' · b' + beta · c, as ONNX has it; canonicalise makes it a Dense."""

    op: ClassVar[str] = "Gemm"
    alpha: float = 1.0
    beta: float = 1.0
    trans_a: bool = False
    trans_b: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MatMul(Node):
    """Matrix product with numpy's broadcasting."""

    op: ClassVar[str] = "MatMul"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense(Node):
    """y[…, O] = x[…, K] · wᵀ + b with constant w in layout O,K; b [O] may be absent."""

    op: ClassVar[str] = "Dense"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNorm(Node):
    """Inference batch normalisation; inputs x, scale, bias, mean, variance, all but x by channel.

    y = (x − mean) / √(variance + epsilon) · scale + bias.
    """

    op: ClassVar[str] = "BatchNorm"
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleShift(Node):
    """y = x · a + b by channel (axis 1); a and b are constants [C].

    What batch normalisation and loose Mul and Add of constants become when they cannot be folded
    into a neighbour's weights.
    """

    op: ClassVar[str] = "ScaleShift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relu(Node):
    """max(x, 0)."""

    op: ClassVar[str] = "Relu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clamp(Node):
    """min(max(x, low), high): ONNX Clip with constant bounds; infinities where open."""

    op: ClassVar[str] = "Clamp"
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound(Node):
    """min(max(x, low), high) by channel (axis 1); low and high are constants [C]."""

    op: ClassVar[str] = "Bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakyRelu(Node):
    """x where x ≥ 0, else alpha · x."""

    op: ClassVar[str] = "LeakyRelu"
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Elu(Node):
    """x where x ≥ 0, else alpha · (eˣ − 1)."""

    op: ClassVar[str] = "Elu"
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sigmoid(Node):
    """1 / (1 + e⁻ˣ)."""

    op: ClassVar[str] = "Sigmoid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tanh(Node):
    """Hyperbolic tangent."""

    op: ClassVar[str] = "Tanh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erf(Node):
    """The error function."""

    op: ClassVar[str] = "Erf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Softplus(Node):
    """ln(1 + eˣ)."""

    op: ClassVar[str] = "Softplus"


@dataclass(frozen=True, slots=True, kw_only=True)
class HardSigmoid(Node):
    """min(max(alpha · x + beta, 0), 1)."""

    op: ClassVar[str] = "HardSigmoid"
    alpha: float
    beta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HardSwish(Node):
    """x · min(max(x / 6 + 1/2, 0), 1)."""

    op: ClassVar[str] = "HardSwish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silu(Node):
    """x · sigmoid(x); made by canonicalise from Mul and Sigmoid."""

    op: ClassVar[str] = "Silu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gelu(Node):
    """x · Φ(x), exactly or by the tanh approximation."""

    op: ClassVar[str] = "Gelu"
    tanh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Node):
    """a + b with numpy's broadcasting."""

    op: ClassVar[str] = "Add"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sub(Node):
    """a − b with numpy's broadcasting."""

    op: ClassVar[str] = "Sub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mul(Node):
    """a · b with numpy's broadcasting."""

    op: ClassVar[str] = "Mul"


@dataclass(frozen=True, slots=True, kw_only=True)
class Div(Node):
    """a / b with numpy's broadcasting."""

    op: ClassVar[str] = "Div"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(Node):
    """Maximum over windows; padding never wins. One output (no indices)."""

    op: ClassVar[str] = "MaxPool"
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    ceil_mode: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool(Node):
    """Mean over windows; ``count_padding`` says whether padding counts in the divisor."""

    op: ClassVar[str] = "AveragePool"
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    ceil_mode: bool = False
    count_padding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalAveragePool(Node):
    """Mean over all spatial dimensions, which stay as 1."""

    op: ClassVar[str] = "GlobalAveragePool"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalMaxPool(Node):
    """Maximum over all spatial dimensions, which stay as 1."""

    op: ClassVar[str] = "GlobalMaxPool"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReduceMean(Node):
    """Mean over ``axes`` (not negative, ascending)."""

    op: ClassVar[str] = "ReduceMean"
    axes: tuple[int, ...]
    keepdims: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Node):
    """Softmax over one axis (opset 13's meaning), or over all from ``axis`` on (``coerce``)."""

    op: ClassVar[str] = "Softmax"
    axis: int
    coerce: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(Node):
    """Join along ``axis`` (not negative)."""

    op: ClassVar[str] = "Concat"
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(Node):
    """Cut along ``axis`` into pieces of the given sizes."""

    op: ClassVar[str] = "Split"
    axis: int
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape(Node):
    """The same elements in ``shape``, which may hold one −1; 0 copies the input's dimension."""

    op: ClassVar[str] = "Reshape"
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten(Node):
    """To two dimensions, cut before ``axis`` (not negative)."""

    op: ClassVar[str] = "Flatten"
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeeze(Node):
    """Drop the dimensions of size 1 at ``axes`` (not negative, ascending)."""

    op: ClassVar[str] = "Squeeze"
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsqueeze(Node):
    """Insert dimensions of size 1 at ``axes`` of the output (not negative, ascending)."""

    op: ClassVar[str] = "Unsqueeze"
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transpose(Node):
    """Permute dimensions."""

    op: ClassVar[str] = "Transpose"
    perm: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pad(Node):
    """Pad by ``pads`` (begins, then ends, of every axis); ``value`` counts in constant mode."""

    op: ClassVar[str] = "Pad"
    pads: tuple[int, ...]
    mode: str = "constant"
    value: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Node):
    """x[start:end:step] on each of ``axes``."""

    op: ClassVar[str] = "Slice"
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    axes: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsample(Node):
    """Nearest-neighbour enlargement by whole factors, one a dimension: out[i] = x[i // f]."""

    op: ClassVar[str] = "Upsample"
    factors: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity(Node):
    """The input as it is; Dropout at inference, and Cast to the same type."""

    op: ClassVar[str] = "Identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeQuantize(Node):
    """min(max(round(x / scale), low), high) · scale, ties to even: a quantizer of the model's own.

    ``low`` and ``high`` are levels counted from the one that stands for 0.
    """

    op: ClassVar[str] = "FakeQuantize"
    scale: float
    low: int
    high: int
