"""Data sets and options (LB7xx): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

_CONTRACT = (
    "An .npz has one array for each input of the model, named like it, samples first, in the "
    "model's own layout and scale; labels, if any, are in y."
)

CODES: tuple[Code, ...] = (
    Code(
        "LB700",
        "A file cannot be read or written",
        "The operating system refused to open, read or write a file.",
        "The work cannot go on without it.",
        "Check the path, its permissions and the space left.",
    ),
    Code(
        "LB720",
        "No array is named like an input",
        "The data set lacks an array for an input of the model.",
        "Guessing which array belongs to which input could measure nonsense.",
        _CONTRACT,
    ),
    Code(
        "LB721",
        "Samples have the wrong shape",
        "The samples of an input have another shape than the model's input.",
        "A reshape or transpose that nobody asked for would give a wrong accuracy in silence.",
        _CONTRACT,
    ),
    Code(
        "LB722",
        "An array has the wrong element type",
        "The element type of an array does not convert to the input's without loss.",
        "A lossy conversion would change the data.",
        "Convert the array before saving it; bytes convert to floats as they are, unscaled.",
    ),
    Code(
        "LB723",
        "The data set is empty",
        "There are no samples.",
        "Nothing can be calibrated or measured on nothing.",
        "Check the path, or how the file was written.",
    ),
    Code(
        "LB724",
        "The data holds NaN or infinities",
        "Some values of an input are not finite.",
        "Their result means nothing, on the chip or off it.",
        "Mend or leave out the sample that is named.",
    ),
    Code(
        "LB725",
        "Arrays have different numbers of samples",
        "The arrays of a data set differ in their first dimension.",
        "Samples and labels would be paired wrongly.",
        "Check how the arrays were cut.",
    ),
    Code(
        "LB726",
        "A data file cannot be read",
        "The file is missing, damaged, or not what its name says.",
        "Nothing can be read from it; pickled objects are never loaded, since they can run code.",
        "Check the path; where the file is there, write it again with numpy.savez(path, x=…, y=…).",
    ),
    Code(
        "LB727",
        "The data set is not of a known kind",
        "Data is an .npz or .npy file, a folder of images, or package.module:function.",
        "Anything else would have to be guessed.",
        "Give one of these three.",
    ),
    Code(
        "LB728",
        "A folder of images needs a [preprocess] table",
        "The model does not say how images become its input.",
        "Wrong preprocessing is the most common cause of a bad accuracy, and it is silent.",
        "Write [preprocess] with layout, color, mean, scale and size in lowbitc.toml beside the "
        "model.",
    ),
    Code(
        "LB729",
        "An image cannot be read",
        "A file in the folder is not an image that Pillow reads, or Pillow is not installed.",
        "A skipped image would change the measured accuracy without a word.",
        "Mend or remove the file; install with pip install 'lowbitc[images]'.",
    ),
    Code(
        "LB730",
        "lowbitc.toml cannot be read",
        "The configuration is no TOML, or holds a key or a value that lowbitc does not know.",
        "A setting that is ignored in silence would leave you with another program than you think.",
        "See docs/configuration.md for the keys.",
    ),
    Code(
        "LB731",
        "An option cannot be used",
        "An option of the command line or of the API has a value that is not allowed.",
        "The message says which values are.",
        "Change the option.",
    ),
    Code(
        "LB732",
        "The data function cannot be used",
        "package.module:function cannot be imported, fails, or yields something else than batches.",
        "It must yield dictionaries from input name (and y) to arrays, samples first.",
        "Run the function by itself first.",
    ),
    Code(
        "LB733",
        "Labels are not what the metric measures",
        "The labels have another shape, type or range than the metric needs: classes within the "
        "number of scores, texts of the charset, boxes.",
        "An accuracy against wrong labels means nothing.",
        "Check y, and that the output that is measured holds the scores; docs/gate.md says what "
        "each metric reads.",
    ),
    Code(
        "LB734",
        "The network put out NaN or infinities",
        "The program or the float model put out values that are not finite numbers.",
        "A NaN compares as neither right nor wrong; counting it would hide it.",
        "Look at the data and at the parts of the network on the CPU.",
    ),
    Code(
        "LB735",
        "The gate could not measure",
        "There were no labels, or no samples, that the metric could be measured on.",
        "A gate that measured nothing has not passed; its exit code is 4, never 0.",
        "Give data with labels in y.",
    ),
    Code(
        "LB736",
        "A metric cannot be measured on this data",
        "The samples or the network do not have what the metric compares: one class alone, "
        "outputs of another shape, no labelled box, a float model that always says the same.",
        "A figure would come out, and it would mean nothing.",
        "Give data that has what the message names, or another metric.",
    ),
    Code(
        "LB739",
        "A function of a metric cannot be used",
        "package.module:function cannot be imported, fails, or gives something else than one "
        "finite number a sample (a metric) or one array (a decoder).",
        "What it gives is the measurement.",
        "Run the function by itself on a batch first.",
    ),
)
