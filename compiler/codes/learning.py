"""Learning on the chip (LB55x): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB550",
        "A program that does not learn",
        "The program has no layer that learns.",
        "Only a layer of 1-bit weights behind binary features can take in examples on the chip; "
        "the compiler puts one in place of the last dense layer when it is asked to.",
        "Compile the model with --learn CLASSES:NEURONS.",
    ),
    Code(
        "LB551",
        "No place for a layer that learns",
        "The network does not end in a dense layer on the chip that reads 1-bit levels.",
        "A neuron learns by moving its connections to inputs that are active, so its inputs must "
        "be binary: the features behind the last ReLU are made so, where a dense layer reads them.",
        "End the network in a ReLU and a dense layer; pools that average, and activations other "
        "than ReLU, do not give 1-bit levels.",
    ),
    Code(
        "LB552",
        "A learning layer that is not spelled CLASSES[:NEURONS]",
        "What was given to --learn is no number of classes, or no number of neurons for each.",
        "Every class has neurons of its own from the start: classes cannot be added later.",
        "Give as many classes as will ever be learned, as in --learn 10:20.",
    ),
    Code(
        "LB553",
        "Labels that cannot be learned",
        "The examples have no labels, or labels of classes that the layer does not have.",
        "An example is learned by a neuron of its class, whose neurons were set aside when the "
        "model was compiled.",
        "Store labels as y in the .npz, from 0 to the number of classes less one; or compile with "
        "more classes.",
    ),
    Code(
        "LB554",
        "A learning parameter out of range",
        "The number of connections is not one that neurons can have, or differs from that of "
        "neurons that have learned; or a plasticity or the competition is not within 0 and 1.",
        "All neurons have the same number of connections, or their scores could not be compared.",
        "Leave the option out, or take a value that the message allows.",
    ),
    Code(
        "LB555",
        "The best neuron of each class is found on the CPU",
        "The chip gives one score a neuron; the highest of each class is taken on the CPU.",
        "The scores are sums of 32 bits, which leave the chip as they are.",
        "Nothing is to be done.",
    ),
)
