"""Folding of the float network (LB42x): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB421",
        "Scales and shifts were folded",
        "Batch norms and multiplications and additions of constants went into the weights of the "
        "layers around them; the network computes the same function.",
        "The chip has no operator for them, and folded they cost nothing.",
        "Nothing to do.",
    ),
    Code(
        "LB422",
        "A scale and shift stays",
        "A batch norm, or a multiplication or addition of constants, could not go into the weights "
        "around it without changing results, for the reasons given: before it, and behind it.",
        "A shift cannot cross zero padding, a negative scale cannot cross a ReLU or a maximum, and "
        "a value with other readers must stay as it is.",
        "Mostly nothing: behind a layer and its activation, the chip's output stage takes it. One "
        "that stands alone costs a pass over its values; normalise before the activation, or pad "
        "after the shift, to be rid of it.",
    ),
    Code(
        "LB423",
        "A batch norm has no result",
        "The variance of a channel plus epsilon is not above zero, or a parameter is not finite.",
        "The square root, or the division by it, is not a number; float results would not be "
        "either.",
        "Train or export the model again; the running variance is damaged.",
    ),
    Code(
        "LB424",
        "A batch norm amplifies a channel without bounds",
        "The variance of a channel is negative or so near to zero that the channel is multiplied "
        "by an enormous factor.",
        "The channel was constant in training. Whatever rounding leaves in it is amplified, so "
        "that quantized results can be far from float ones.",
        "Train with a larger epsilon, or prune the channel.",
    ),
    Code(
        "LB425",
        "Weights of one layer differ widely by channel",
        "The largest weight of one output channel is many times that of another, after folding.",
        "One scale for all channels would lose several bits in the small ones. Scales are by "
        "channel here, so nothing is lost in the weights; peers with one scale a tensor lose it.",
        "Nothing to do.",
    ),
)
