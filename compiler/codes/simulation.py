"""Running programs (LB74x): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB740",
        "No such engine",
        "The engine that was asked for does not exist, or cannot run on this machine.",
        "All engines give the same bits; they differ in speed and in what they count.",
        "Leave --engine out for the default, or name one that the message lists.",
    ),
    Code(
        "LB741",
        "Arrays that do not go together",
        "An array is named like no input, has no dimension for samples, or another number of "
        "samples than the others.",
        "Guessing which array is meant could score the wrong data.",
        "Give one array for every input, named like it, with samples along the first dimension.",
    ),
    Code(
        "LB742",
        "The CPU gave another shape",
        "A piece that runs on the CPU gave a value in another shape than the program says.",
        "The chip's memory is planned for the shape that was fixed when the program was compiled.",
        "Compile the model again; when the shape depends on the data, keep the layers that read "
        "it on the CPU.",
    ),
    Code(
        "LB743",
        "Samples that cannot be joined",
        "An output has another shape for each sample, or is no tensor, so n samples have no "
        "common array.",
        "Padding or cutting silently would change results.",
        "Run the samples one at a time.",
    ),
    Code(
        "LB744",
        "A known answer was missed",
        "An engine gave other values for a launch than those that the compiler stored.",
        "Every engine must give the same bits as the integer specification, on every machine.",
        "Report it with the program and `lowbitc --version`; use --engine reference meanwhile.",
    ),
)
