"""Running float graphs through ONNX Runtime (LB19x): what each code says, why, what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB190",
        "An operator means something else at the operator set that is needed",
        "The model has an operator that stays on the CPU as it is, and its definition changed "
        "between the model's operator set and the one that the graph must be written at.",
        "lowbitc writes graphs at opset 7 or later, the first that ONNX Runtime promises to run; "
        "guessing at the new meaning could change the numbers.",
        "Convert the model with onnx.version_converter to opset 13 or later, and compile that.",
    ),
    Code(
        "LB191",
        "ONNX Runtime cannot load the graph",
        "ONNX Runtime refused the float graph, or the part of it that stays on the CPU.",
        "Calibration, comparison with float and the CPU's part of a program all run there.",
        "See ONNX Runtime's message: often an operator or an element type that the installed "
        "version lacks. Try the model in ONNX Runtime itself, and a newer onnxruntime.",
    ),
    Code(
        "LB192",
        "ONNX Runtime failed while it ran the graph",
        "The float graph was loaded, but did not run on the data given.",
        "Without its values there is nothing to calibrate on or to compare with.",
        "See ONNX Runtime's message, and check the data: shapes, element types, index ranges.",
    ),
    Code(
        "LB193",
        "The data do not match the model's inputs",
        "An input of the model is missing, or its array has another shape or element type.",
        "Arrays hold whole samples, joined along the first axis; nothing is reshaped by guessing.",
        "Name arrays like the model's inputs, and give them the shapes that the message names.",
    ),
)
