"""Placement and streams (LB5xx): what each code says, why, and what to do."""

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
        "they run in passes, unless another mode is asked for.",
        "Take fewer bits for the layer's weights or input, a kernel of fewer rows, or keep the "
        "layer on the CPU with on_host = true in lowbitc.toml; the message says which was tried.",
    ),
    Code(
        "LB502",
        "A network does not fit in one pass",
        "The modes minimal and fast place the whole network on the chip at once, and its layers, "
        "cut for the fewest processors, need more than the chip has.",
        "With more passes than one, weights are loaded again for every frame.",
        "Use mode passes, or fewer weight bits; the message says what was tried and fits.",
    ),
    Code(
        "LB503",
        "No such placement mode",
        "A placement was asked for in a mode that does not exist.",
        "The modes are passes, minimal and fast.",
        "Use one of them with --mode, or as mode in lowbitc.toml.",
    ),
    Code(
        "LB540",
        "A state that cannot be fed",
        "A --state is not spelled INPUT=OUTPUT, or names what the model has not, or two outputs "
        "feed one input.",
        "A streaming network hands its state on from sample to sample: an output becomes an input.",
        "Look up the names with `lowbitc inspect`, and give each input one output.",
    ),
    Code(
        "LB541",
        "A state of another type",
        "The output of a --state has another shape or element type than the input it feeds.",
        "The value is handed on as it is.",
        "Give the shapes that the model leaves open with --shape, or mend the model.",
    ),
)
