"""Comparing a program with its float model (LB77x): what each code says, why, what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB770",
        "The program is not of this model",
        "Layers of the program are not in the model, or have weights of another shape there.",
        "A layer can only be judged beside the float layer that it was made from.",
        "Give the ONNX file that the program was compiled from, or compile it again.",
    ),
)
