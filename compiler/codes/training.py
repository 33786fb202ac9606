"""Training (LB788, LB789, LB79x): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB790",
        "PyTorch is missing",
        "Training needs PyTorch, which is not installed.",
        "It is large, and nothing else in lowbitc needs it.",
        "pip install 'lowbitc[train]'",
    ),
    Code(
        "LB791",
        "Labels cannot train this network",
        "What leaves the chip is not one row of scores for each sample, or has fewer scores than "
        "there are classes in the labels.",
        "Cross entropy needs a score for each class, and no layer on the CPU is trained.",
        "Train toward the float network's outputs (--toward float), or give labels from 0 to the "
        "number of classes less one.",
    ),
    Code(
        "LB792",
        "Checkpoint of another run",
        "The checkpoint cannot be read or written, or was made with another model, data, bits or "
        "schedule.",
        "Going on from it would give a result that no run gives.",
        "Give another --checkpoint, or remove the file to start over.",
    ),
    Code(
        "LB793",
        "Nothing to train in few bits",
        "No convolution or dense layer ran when the network was given the sample.",
        "Low-bit arithmetic is that of products with weights; all else stays float.",
        "Give convert() the network that holds the layers, and a sample that reaches them.",
    ),
    Code(
        "LB794",
        "Layer that cannot train in few bits",
        "The layer is no convolution and no Linear, or pads with other values than zeros.",
        "Its products are computed one addition at a time, over the window that zeros pad.",
        "Put nn.ReflectionPad2d or its like in front of the layer, and padding=0 in it.",
    ),
    Code(
        "LB795",
        "Checkpoint of another number of processes",
        "The checkpoint was written by a run on more or fewer processes.",
        "Each process keeps what AdaComp has not sent yet, and sums of gradients round by how many "
        "there are: going on would give a result that no run gives.",
        "Go on with as many processes as wrote it, give another --checkpoint, or remove the file.",
    ),
    Code(
        "LB796",
        "Processes that train together fell apart",
        "Another process ended without a word, cannot be reached, or was given other data or "
        "settings.",
        "Each step needs the gradients of all processes, for the same examples and settings.",
        "Start all of them with one torchrun command, on machines that reach each other and hold "
        "the same files; with --checkpoint a run goes on from its last epoch.",
    ),
    Code(
        "LB797",
        "No CUDA device",
        "--device cuda was asked for, and PyTorch finds no CUDA device for each process.",
        "Training on another device than the one asked for would take unexpectedly long.",
        "Train on the processor (--device cpu), start fewer processes, or install a PyTorch with "
        "CUDA.",
    ),
    Code(
        "LB788",
        "Training and the program disagree",
        "On some samples the program's predicted class is not that of the network in training, or "
        "more levels differ than sums that lie within 2^-24 of a step explain.",
        "Training computes what the chip computes, so that its accuracy is the program's; where it "
        "did not, the accuracy that training showed is not what ships.",
        "Believe the simulated accuracy, and report the network as a bug of lowbitc.",
    ),
    Code(
        "LB789",
        "Training log that cannot be used",
        "A training log cannot be written, or a file that was given as one holds something else.",
        "A log has one JSON object a line, an entry for each epoch.",
        "Give the file that `lowbitc tune --log` wrote.",
    ),
    Code(
        "LB798",
        "Samples that cannot be flipped or shifted",
        "--flip or --shift was given, and a sample is no image: it has not three dimensions.",
        "Mirroring or moving means something for height and width only.",
        "Train without --flip and --shift.",
    ),
)
