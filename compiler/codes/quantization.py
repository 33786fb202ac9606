"""Quantization (LB4xx): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB401",
        "Bits are not spelled a/b/c",
        "The bits are given as three widths: weights of the first layer, weights of the other "
        "layers, activations.",
        "The chip holds weights and activations of 1, 2, 4 or 8 bits, and nothing between.",
        "Write for example --bits 8/4/4.",
    ),
    Code(
        "LB402",
        "A pattern matches no layer",
        "A [[layer]] entry of lowbitc.toml names no layer of the network.",
        "A setting that silently does nothing would leave you with other bits than you think.",
        "List the layers with `lowbitc check MODEL.onnx` and mend the pattern.",
    ),
    Code(
        "LB403",
        "A sum could overflow",
        "The weights and the input levels of a layer could give a sum beyond 32 bits.",
        "The chip accumulates in 32 bits, exactly; an overflow would give a wrong result.",
        "Give the layer fewer weight bits, or split it by input channels.",
    ),
)
