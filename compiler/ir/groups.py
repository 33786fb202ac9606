"""Groups of float operators that passes, targets and exporters all speak of."""

from __future__ import annotations

from lowbitc.compiler.ir import ops

WEIGHTED = (ops.Conv, ops.ConvTranspose, ops.Dense)
"""Nodes that hold weights."""
PRODUCTS = (ops.MatMul, ops.Gemm)
"""What runs as Dense when its weights are a constant matrix."""
MAXIMA = (ops.MaxPool, ops.GlobalMaxPool)
AVERAGES = (ops.AveragePool, ops.GlobalAveragePool)
POOLS = (*MAXIMA, *AVERAGES)
WINDOWED = (ops.Conv, ops.ConvTranspose, ops.MaxPool, ops.AveragePool)
"""Nodes that read windows of their input."""
SUMMING = (*WEIGHTED, *AVERAGES)
"""Nodes that accumulate and then run an output stage."""
CLIPS = (ops.Relu, ops.Clamp, ops.Bound)
"""Activations that are a clip: part of any output stage."""
TABLES = (
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
"""Activations that need a table of 256 levels."""
ACTIVATIONS = (*CLIPS, *TABLES)
RESHAPES = (ops.Reshape, ops.Flatten, ops.Squeeze, ops.Unsqueeze)
"""Nodes that keep the order of elements."""
MOVES = (*RESHAPES, ops.Transpose, ops.Slice, ops.Upsample, ops.Pad)
"""Nodes that only move the elements of one value."""
LAYOUT = (*MOVES, ops.Concat)
"""Nodes that only move levels."""
KEEPS_LEVELS = (*MAXIMA, *MOVES)
"""Nodes whose output has the levels and the scale of their input."""
POSITIVE = (ops.Relu, ops.Sigmoid, ops.HardSigmoid, ops.Softplus, ops.Softmax)
"""Nodes that are never negative, whatever they read."""
