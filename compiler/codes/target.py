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
        "An average pool of windows that cannot share a divisor",
        "Windows of an average pool are cut off by ceil_mode or dilated, or their padding does not "
        "count and is so wide that their sizes have no common multiple of at most 2^22.",
        "The output stage has one divisor a channel; sums are multiplied by place to share it.",
        f"Export with ceil_mode=False, or with count_include_pad=True. {_CPU}",
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
        "LB243",
        "An image of another size than the input layer takes",
        "The image that the first convolution reads is too narrow, too wide or too low.",
        "The input unit holds lines of an image in a memory of fixed length.",
        f"Resize or cut the image. {_CPU}",
    ),
    Code(
        "LB244",
        "A kernel, stride or padding that the input layer does not have",
        "The first convolution has a kernel, stride, dilation or padding that is not allowed.",
        "The input unit walks over the image in a few fixed ways.",
        f"Train with an allowed kernel; same padding has the odd row and column at the end. {_CPU}",
    ),
    Code(
        "LB245",
        "Too many filters in the input layer",
        "The first convolution has more filters than the input unit holds at this kernel.",
        "The input unit has one weight memory for all filters.",
        f"Give the layer fewer filters or a smaller kernel. {_CPU}",
    ),
    Code(
        "LB246",
        "A kernel that the chip does not have",
        "A convolution's kernel is not square, not of an allowed side, or dilated.",
        "Processors find the weights of an event by the kernel's side.",
        f"Pad the kernel with zeros to the next allowed size. {_CPU}",
    ),
    Code(
        "LB247",
        "A stride that the chip does not have",
        "A convolution's stride is neither 1, nor 2 with a 3x3 kernel.",
        "Processors find the outputs that an event meets by shifts.",
        f"Use a 3x3 kernel where the stride is 2. {_CPU}",
    ),
    Code(
        "LB248",
        "Padding that is not same padding",
        "A convolution is not padded so that outputs = inputs / stride, rounded up, with the odd "
        "row and column at the end.",
        "Processors count outputs from the first row and column of the input.",
        "Export with auto_pad SAME_UPPER. Symmetric padding of 1 at stride 2 on an even size "
        f"starts one row too early. {_CPU}",
    ),
    Code(
        "LB249",
        "A depthwise convolution without its pointwise half",
        "A convolution has groups, and is not one filter a channel with a 1x1 convolution directly "
        "behind it.",
        "The chip runs both halves as one layer, a separable convolution.",
        f"Train with separable convolutions: no activation between the halves. {_CPU}",
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
        "LB280",
        "Weights of other bits than the layer may have",
        "The layer was asked to have weights of a width that this kind of layer does not have.",
        "Each kind of layer unpacks weights of a few widths.",
        f"Give the layer another width in lowbitc.toml. {_CPU}",
    ),
    Code(
        "LB281",
        "An activation that is not part of a layer",
        "An activation is not a ReLU, or does not stand directly behind a layer on the chip.",
        "A layer's output stage clips; there are no processors for activations alone.",
        f"Put the ReLU directly behind the layer. {_CPU}",
    ),
    Code(
        "LB282",
        "A pool that is not part of a convolution",
        "A pool does not stand directly behind a convolution on the chip.",
        "Pools are done by the processors of the convolution before them.",
        _CPU,
    ),
    Code(
        "LB283",
        "A max pool of another size or stride",
        "The window of a max pool is not among the allowed ones.",
        "Processors hold two rows of a convolution's outputs for its pool.",
        f"Use a pool of 2x2, or a convolution of stride 2. {_CPU}",
    ),
    Code(
        "LB284",
        "A max pool with no convolution behind it",
        "What reads a max pool is no convolution on the chip.",
        "Pooled outputs leave in an order that only convolutions take.",
        f"Put a convolution behind the pool, or a convolution of stride 2 in its place. {_CPU}",
    ),
    Code(
        "LB285",
        "Bits that the target does not hold",
        "The bits that were asked for are wider or other than the target has.",
        "Memories and arithmetic are built for a few widths.",
        "Ask for widths that `lowbitc targets NAME` lists, for example --bits 8/4/4.",
    ),
    Code(
        "LB286",
        "A global average pool of another size",
        "A global average pool is over too many columns or too few rows.",
        "Its sums are held beside those of the convolution.",
        f"Make the image smaller before it, by convolutions of stride 2. {_CPU}",
    ),
    Code(
        "LB287",
        "Too many inputs of a dense layer",
        "A dense layer reads more inputs than it can, or something else than a vector.",
        "Addresses of inputs have a fixed width.",
        f"Pool before the layer. {_CPU}",
    ),
    Code(
        "LB288",
        "A change of layout",
        "A reshape does something else than to make the vector that a dense layer reads.",
        "Levels keep their order on the mesh.",
        _CPU,
    ),
    Code(
        "LB289",
        "A layer that reads values below 0",
        "What a layer reads may be negative.",
        "An event carries an unsigned level; only the input layer takes an offset.",
        f"Put a ReLU before the layer. {_CPU} Sums that leave the chip may be negative.",
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
