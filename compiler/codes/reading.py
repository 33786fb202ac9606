"""Reading an ONNX model (LB1xx): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

_EXPORT_AGAIN = "Export the model again from the framework that it was trained in."
_COPY_AGAIN = "Copy or download the file again, as binary, and compare its size or SHA-256."

CODES: tuple[Code, ...] = (
    Code(
        "LB101",
        "Model cannot be read",
        "The path does not lead to a file that can be opened; the message ends with the reason.",
        "A wrong path, a folder in place of a file, or no permission.",
        "Check the path; for a folder, name the .onnx file in it.",
    ),
    Code(
        "LB102",
        "Not an ONNX model",
        "The file is of another kind: the finding says which when its first bytes tell.",
        "Web pages, Git LFS pointers, archives and checkpoints often end up under the name of a "
        "model.",
        "Follow the hint: fetch the file itself, unpack it, or export the checkpoint to ONNX.",
    ),
    Code(
        "LB103",
        "Model file cut short or damaged",
        "The file starts as an ONNX model does, but is not a whole protobuf message, or has names "
        "that are no text.",
        "A download or copy stopped early, or the file was transferred as text.",
        _COPY_AGAIN,
    ),
    Code(
        "LB104",
        "Unsupported operator set",
        "The model does not say its opset, or one outside the supported range, or uses a domain "
        "of which it imports no version.",
        "Operators change their meaning between opsets: reading them as another version would "
        "give wrong results silently.",
        "Export with an opset in the range of the message; a newer onnx package raises the upper "
        "end.",
    ),
    Code(
        "LB105",
        "Unknown or withdrawn operator",
        "onnx has no such operator in that domain at that version. A warning where the node can "
        "stay on the CPU, an error where the opset of the model withdrew the operator.",
        "Nodes of custom domains run in ONNX Runtime if it has them; lowbitc knows neither their "
        "meaning nor, unless the model states them, their shapes.",
        "Check the spelling of the operator and its domain, or replace it by standard operators.",
    ),
    Code(
        "LB106",
        "Nodes were out of order",
        "Nodes came before others whose outputs they read; they were moved behind them.",
        "ONNX asks for an order that can run. The meaning is clear all the same.",
        "Nothing; or sort the nodes where the model is made.",
    ),
    Code(
        "LB107",
        "Nodes in a circle",
        "Some nodes need each other's outputs, so that none of them can run first.",
        "An ONNX graph has no cycles; recurrence is expressed by Loop, Scan, LSTM, GRU or RNN.",
        _EXPORT_AGAIN,
    ),
    Code(
        "LB108",
        "Undefined value",
        "A node or an output reads a value that no input, initializer or node defines.",
        "Most often the parameters were left out of the file, or a node was removed by hand.",
        "Export with parameters (export_params=True in PyTorch), or restore what defined it.",
    ),
    Code(
        "LB109",
        "Value defined twice",
        "Two nodes, inputs or initializers define values of the same name.",
        "It would depend on the order which of them a reader means.",
        "Rename one of them where the model is made; models merged by hand need prefixes "
        "(onnx.compose does that).",
    ),
    Code(
        "LB110",
        "NaN or infinite weights",
        "A constant holds NaN, or the weights of a layer hold infinity; the finding gives the "
        "first index. Infinity elsewhere, as in masks, is left alone.",
        "They spread to every result that they touch, and have no integer level.",
        "Take an earlier checkpoint, or find the layer that diverged.",
    ),
    Code(
        "LB111",
        "Training mode",
        "A batch normalisation or dropout is set to behave as in training.",
        "It would normalise by the statistics of each batch, or drop at random, so that results "
        "depend on what else is in the batch.",
        "Call model.eval() before exporting, with training=TrainingMode.EVAL in torch.onnx.export.",
    ),
    Code(
        "LB112",
        "External data outside the model's folder",
        "A tensor's data is said to be at an absolute path, above the model's folder, or behind a "
        "link that leads out of it.",
        "A model could otherwise make the compiler read any file of this machine into a program.",
        "Put the data file beside the model, and save the model with a relative location.",
    ),
    Code(
        "LB113",
        "External data is missing",
        "The file that holds a tensor's data is not there, or the model was given without a path.",
        "Models above 2 GB keep weights in files of their own, which must travel with them.",
        "Copy those files into the model's folder; from Python, pass the path of the model.",
    ),
    Code(
        "LB114",
        "External data of the wrong length",
        "The offset and length of a tensor's data do not fit its shape, or the file is shorter.",
        "Bytes of another tensor, or none, would be read as weights.",
        _COPY_AGAIN,
    ),
    Code(
        "LB115",
        "Free dimension",
        "A dimension of an input, other than the batch, has no size; or an input has no shape.",
        "A chip's memory is planned for fixed sizes.",
        "Write the --shape option that the hint gives, with a number for each free dimension.",
    ),
    Code(
        "LB116",
        "--shape does not fit",
        "A --shape names no input, has another number of dimensions, or contradicts the model.",
        "Dimensions that the model fixes cannot be changed by an option.",
        "Compare with the shape in the message; N stands for the batch.",
    ),
    Code(
        "LB117",
        "Batch compiled as 1",
        "Dimension 0 of an input is symbolic, and was bound to one sample.",
        "A program describes the work for one sample; it runs any number of them.",
        "Nothing; or give another size with --shape.",
    ),
    Code(
        "LB118",
        "Malformed node",
        "A node has an attribute or a number of inputs that its operator does not have at this "
        "opset, lacks a required one, or has one of another kind.",
        "Ignoring it could change the result without a sign.",
        "Export again so that the operators and the opset agree.",
    ),
    Code(
        "LB119",
        "No outputs",
        "The graph of the model has no outputs.",
        "There is nothing to compute.",
        "Mark the values that are wanted as outputs (output_names in torch.onnx.export).",
    ),
    Code(
        "LB120",
        "Malformed tensor",
        "The data of a tensor does not fit its shape or element type.",
        "Weights would be read from the wrong places.",
        _EXPORT_AGAIN,
    ),
    Code(
        "LB121",
        "Shapes contradict each other",
        "Shape inference found that a node does not accept the shapes or types of its inputs. A "
        "warning where the node stays on the CPU, whose runtime may be more lenient.",
        "The model cannot run with these input shapes, here or elsewhere.",
        "If a batch or image size is fixed inside the model, give it with --shape; else export "
        "the model again.",
    ),
    Code(
        "LB122",
        "Integer operators",
        "The model has integer operators such as QLinearConv or DynamicQuantizeLinear; they stay "
        "on the CPU.",
        "lowbitc reads quantized models whose operators are float between QuantizeLinear and "
        "DequantizeLinear (QDQ), and QONNX.",
        "Export the model in the QDQ format, or compile the float model.",
    ),
    Code(
        "LB123",
        "Random numbers",
        "A node makes random numbers; it stays on the CPU.",
        "Folding it would make one draw permanent.",
        "Export in inference mode if it is left over from training.",
    ),
    Code(
        "LB124",
        "Constant too large to fold",
        "A node has constant inputs, but its result is too large to keep.",
        "Expanded constants would swell the program.",
        "Nothing, if it runs on the CPU anyway; else store the result as an initializer.",
    ),
    Code(
        "LB125",
        "Local function cannot be inlined",
        "A function that the model defines is written for another opset than the model, or calls "
        "itself.",
        "Its nodes cannot be put in place of the call without changing their meaning.",
        "Export with functions inlined (onnx.inliner, or optimize=True in torch.onnx.export).",
    ),
    Code(
        "LB126",
        "Constant not computed",
        "A node has constant inputs, but onnx's reference evaluator refused to compute it.",
        "It runs on the CPU each time instead.",
        "Nothing; results are the same.",
    ),
    Code(
        "LB127",
        "A quantizer has more than one scale",
        "The model quantizes an activation by channel, or with a scale that is computed.",
        "Levels of the chip have one scale a tensor, known when the model is compiled.",
        "Quantize activations per tensor with constant scales; until then the CPU runs it.",
    ),
    Code(
        "LB128",
        "A quantizer has a zero point",
        "The model quantizes an activation around a level that is not 0.",
        "Level 0 means no event on the chip, which is what makes it sparse: it stands for 0.",
        "Quantize symmetrically (int8 with zero point 0, or uint8 with 128), or behind a ReLU "
        "with zero point 0.",
    ),
    Code(
        "LB129",
        "A quantizer has more than 8 bits",
        "The model quantizes an activation to more levels than the chip has.",
        "Levels of the chip have 8 bits at most, signed or unsigned.",
        "Quantize the activation to 8 bits or fewer.",
    ),
    Code(
        "LB130",
        "A layer of a quantized model reads a value that is not quantized",
        "The model says how activations are quantized, but not for this one.",
        "A model that is quantized already is taken as it is: nothing is calibrated.",
        "Quantize the value in the model; until then the layer runs on the CPU, in float.",
    ),
    Code(
        "LB131",
        "Weights of a quantized model lie on no grid",
        "The weights of a layer are not a whole number of at most 8 bits times one scale an "
        "output channel.",
        "They are float, have a zero point, or more than 8 bits; rounding them would change the "
        "model.",
        "Quantize weights symmetrically, per tensor or per output channel.",
    ),
    Code(
        "LB132",
        "A layer of a quantized model puts out a value that is not quantized",
        "The model quantizes what the layer reads, but not what it makes, or others read it in "
        "float too.",
        "What stays on the chip is levels, whose scale the model does not say.",
        "Quantize the value in the model, for all that read it.",
    ),
    Code(
        "LB133",
        "A quantizer stays on the CPU",
        "A value comes from the CPU and is quantized to fewer levels than the border knows.",
        "The border to the chip rounds and saturates at 2, 4, 16 or 256 levels.",
        "Nothing; the result is exact.",
    ),
    Code(
        "LB134",
        "The model is quantized already",
        "The model holds quantizers: QuantizeLinear and DequantizeLinear, or QONNX's Quant.",
        "Its scales and weights are taken as they are; what calibration would choose is given.",
        "Nothing. To quantize anew, give the float model.",
    ),
    Code(
        "LB135",
        "A QONNX quantizer cannot be read",
        "An activation goes through a QONNX node that lowbitc cannot take as it is: BipolarQuant, "
        "Trunc, or a Quant with several scales or another rounding.",
        "ONNX Runtime has no such operators, so that the CPU could not run it either.",
        "Export the model in the QDQ format, or use Quant with one constant scale there.",
    ),
)
