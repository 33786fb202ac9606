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
    Code(
        "LB771",
        "The suggestion cannot be written",
        "The operating system refused to write the lowbitc.toml that --suggest asks for.",
        "What was measured is printed only when all that was asked for is there.",
        "Check the path, its permissions and the space left.",
    ),
    Code(
        "LB772",
        "The report cannot be written",
        "The operating system refused to write the page that --report asks for.",
        "A report that silently does not exist would be looked for later.",
        "Check the path, its permissions and the space left.",
    ),
    Code(
        "LB773",
        "The annotated model cannot be written",
        "The operating system refused to write it, or it would lie away from the files that hold "
        "the model's tensors.",
        "A model finds its tensors in files beside it: a copy elsewhere could not be opened.",
        "Choose a path that can be written, in the model's own folder where it has such files.",
    ),
    Code(
        "LB774",
        "There is no known answer",
        "The program holds no known answers, so there is nothing to hold the engine against.",
        "They are left out where no sample was given at compilation and the model does not take "
        "zeros; a check of nothing must not look like one that passed.",
        "Compile the model again with --calib.",
    ),
    Code(
        "LB775",
        "The program was trained",
        "Training moved weights, clips and biases together, so single layers may differ from the "
        "float model's although the outputs are better.",
        "Layers are judged by what they make of the float network's values.",
        "Judge a trained program by its outputs, with `lowbitc gate`.",
    ),
    Code(
        "LB776",
        "The model is quantized itself",
        "The model holds quantizers, whose scales and levels the program takes as they are.",
        "There are no float layers beside which the program's could be judged.",
        "Compare the outputs with `lowbitc gate PROGRAM.lbc --metric agreement`.",
    ),
)
