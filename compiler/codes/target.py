"""Rules of a target (LB2xx): what each code says, why, and what to do.

Codes that several targets share are worded for all; the message holds the target's own limit.
"""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

_CPU = "The node runs on the CPU; results stay right, at the cost of a crossing to it and back."

CODES: tuple[Code, ...] = (
    Code(
        "LB200",
        "The chip does not run this operator",
        "The operator is not among those that the target runs.",
        "The chip computes with integers in a fixed set of layers.",
        f"{_CPU} Replace the operator where it splits the network in the middle.",
    ),
    Code(
        "LB201",
        "A shape depends on the data",
        "A value of the node has no shape that is known when the program is compiled, is no "
        "tensor, or is empty.",
        "Memory is planned and layers are placed when the program is compiled.",
        f"Export the model with fixed shapes, or give them with --shape. {_CPU}",
    ),
    Code(
        "LB202",
        "Values that are not float32",
        "The node reads or makes values of another element type.",
        "Only float32 activations are quantized.",
        _CPU,
    ),
    Code(
        "LB203",
        "Too few or too many dimensions",
        "A value has a number of dimensions that the chip does not hold.",
        "The first dimension counts frames; the chip walks over the others.",
        f"{_CPU} Reshape the value to frames x features in the model.",
    ),
    Code(
        "LB210",
        "Weights that are computed",
        "A weight or bias is computed from activations.",
        "Weights are written into the processors once, when a program is loaded.",
        _CPU,
    ),
    Code(
        "LB211",
        "Weights that are not finite",
        "A weight or bias is NaN or infinite.",
        "No level stands for it.",
        "Look at the training run. " + _CPU,
    ),
    Code(
        "LB212",
        "A layer of a constant",
        "The input of a layer is a constant of the model.",
        "Nothing would have to run for it.",
        "Simplify the model before export. " + _CPU,
    ),
    Code(
        "LB213",
        "Too many spatial dimensions",
        "A convolution or pool has other spatial dimensions than 1 or 2.",
        "Processors hold rows of the input and walk over columns.",
        _CPU,
    ),
    Code(
        "LB220",
        "A max pool that sees only padding",
        "A window of a max pool may hold no input.",
        "There is no level for minus infinity.",
        f"Pad less than the kernel. {_CPU}",
    ),
    Code(
        "LB221",
        "An average pool with changing divisors",
        "Windows of an average pool at the border divide by another number than those inside.",
        "The output stage has one divisor a channel.",
        f"Export with count_include_pad=True, or without padding. {_CPU}",
    ),
    Code(
        "LB230",
        "An Add of other shapes",
        "An Add does not take two activations of one shape.",
        "The chip adds two streams level by level.",
        _CPU,
    ),
    Code(
        "LB231",
        "A Concat of constants",
        "A Concat joins a constant.",
        "Only streams of levels are joined.",
        _CPU,
    ),
    Code(
        "LB232",
        "Constants that are not one a channel",
        "A scale, shift or bound has another shape than one number a channel.",
        "Output stages hold constants by channel.",
        _CPU,
    ),
    Code(
        "LB240",
        "A change of layout that moves frames",
        "A reshape, transpose, slice or concat touches the first dimension.",
        "The first dimension counts frames, which the chip takes one after the other.",
        _CPU,
    ),
    Code(
        "LB241",
        "A slice that goes backwards",
        "A slice has a negative step.",
        "Levels keep their order on the mesh.",
        _CPU,
    ),
    Code(
        "LB242",
        "Padding that is not zeros",
        "Padding repeats or mirrors the input, has another value than 0, or takes away.",
        "Padding is level 0: no event.",
        _CPU,
    ),
    Code(
        "LB250",
        "The work does not pay for its crossing",
        "A part of the network that the chip could run saves the CPU less time than its launch "
        "and the bytes that cross take, by the target's cost model.",
        "Each launch costs a driver call, transfers and an interrupt, however little it does.",
        "Nothing is to be done; with --offload all it runs on the chip nevertheless.",
    ),
    Code(
        "LB251",
        "A step of an unrolled recurrence",
        "The same weights run again and again, each time on what the CPU made of their last "
        "result, and the launches this takes would not pay.",
        "A recurrence is sequential: the chip would be launched once a step, for little work. Its "
        "input projections, which do not recur, run on the chip, all steps in one launch.",
        "Nothing is to be done; with --offload all the steps run on the chip nevertheless.",
    ),
    Code(
        "LB290",
        "Nothing is multiplied here",
        "A part of the network that could run on the chip holds no weights.",
        "A crossing to the chip and back would cost more than the work.",
        "Nothing is to be done.",
    ),
    Code(
        "LB291",
        "Only the CPU reads the result",
        "A change of layout or an activation follows the chip's last layer.",
        "The CPU does it exactly, in float, and next to nothing is saved on the chip.",
        "Nothing is to be done.",
    ),
    Code(
        "LB292",
        "Kept on the CPU by request",
        "lowbitc.toml has on_host = true for this layer.",
        "You asked for it.",
        "Remove the entry to let the layer run on the chip.",
    ),
    Code(
        "LB299",
        "No such target",
        "The target that was asked for does not exist.",
        "A target is a specification and rules that come with lowbitc.",
        "See `lowbitc targets`.",
    ),
)
