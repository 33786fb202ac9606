"""What a program holds (LB616 to LB619): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

_COMPILE_AGAIN = (
    "Compile the model again; if another tool wrote the file, compare it with docs/container.md."
)
_WRITTEN_SO = (
    "The check sums fit, so the file is as it was written: by another tool, by hand, or by a "
    "defect. Everything in a program is checked before it is used."
)

CODES: tuple[Code, ...] = (
    Code(
        "LB616",
        "Bad image of a neural processor",
        "The memory image of a neural processor is malformed, belongs to no layer, or does not "
        "make up its layer with the others: blocks overlap or are missing, sizes differ from what "
        "the layer needs, or constants are out of their ranges.",
        _WRITTEN_SO,
        _COMPILE_AGAIN,
    ),
    Code(
        "LB617",
        "Bad launch",
        "The nodes of a launch are not what the chip runs: a shape, a type, a scale or an "
        "attribute contradicts another, or a value is read before it is made.",
        _WRITTEN_SO,
        _COMPILE_AGAIN,
    ),
    Code(
        "LB618",
        "Bad piece for the CPU",
        "The ONNX model of a piece that runs on the CPU cannot be read, has other inputs or "
        "outputs than the manifest says, refers to other files, or brings functions of its own.",
        "A program is one file; reading others on its behalf would be unsafe.",
        _COMPILE_AGAIN,
    ),
    Code(
        "LB619",
        "Steps that do not go together",
        "A step reads what no earlier one makes, in another type than it is made, or passes and "
        "known answers do not belong to the steps.",
        _WRITTEN_SO,
        _COMPILE_AGAIN,
    ),
)
