"""Placement (LB5xx): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB501",
        "A layer does not fit a neural processor",
        "However a layer is cut (by output channels, input channels and columns), its smallest "
        "block needs more weight memory or more lines of the input than one neural processor has.",
        "A block's weights, output-stage constants and input lines must be in the processor's own "
        "memory while it works. Layers that need more processors than the chip has are no error: "
        "they run in passes.",
        "Take fewer bits for the layer's weights or input, a kernel of fewer rows, or keep the "
        "layer on the CPU with on_host = true in lowbitc.toml; the message says which was tried.",
    ),
)
