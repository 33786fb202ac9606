"""What northpole runs: all of lb1's layers but transposed convolutions and enlargements."""

from __future__ import annotations

from lowbitc.compiler.ir import ops
from lowbitc.targets.lb1 import rules as lb1

OPERATORS = lb1.OPERATORS - {ops.ConvTranspose.op, ops.Upsample.op}
RULES = lb1.RULES
