"""Quantization (LB4xx): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB401",
        "Bits are not spelled a/b/c",
        "The bits are given as three widths: weights of the first layer, weights of the other "
        "layers, activations.",
        "The chip holds weights and activations of 1, 2, 4 or 8 bits, and nothing between.",
        "Write for example --bits 8/4/4.",
    ),
    Code(
        "LB402",
        "A pattern matches no layer",
        "A [[layer]] entry of lowbitc.toml names no layer of the network.",
        "A setting that silently does nothing would leave you with other bits than you think.",
        "List the layers with `lowbitc check MODEL.onnx` and mend the pattern.",
    ),
    Code(
        "LB403",
        "A sum could overflow",
        "The weights and the input levels of a layer could give a sum beyond 32 bits.",
        "The chip accumulates in 32 bits, exactly; an overflow would give a wrong result.",
        "Give the layer fewer weight bits, or split it by input channels.",
    ),
    Code(
        "LB450",
        "The search for bits has no usable bound",
        "--bits auto was given without a bound, or with one that is no amount.",
        "Fewer bits always cost something: how much may be lost, or how large the program may "
        "be, is for you to say.",
        "Give --max-drop, --max-size, --max-energy or --max-nps, or several of them.",
    ),
    Code(
        "LB451",
        "No mix of bits keeps the budget",
        "Even with as few bits as the search takes, the program is larger than the budget.",
        "Outputs of the chip, residual streams and layers on the CPU keep their widths whatever "
        "the mix.",
        "Give a larger budget, or make the network smaller.",
    ),
    Code(
        "LB452",
        "No mix of bits keeps the drop",
        "The mix with the most bits that the budgets leave loses more than --max-drop.",
        "The loss was measured on samples that calibration did not see, with the program itself.",
        "Allow a larger drop or budget, give more calibration samples, or train the network for "
        "few bits.",
    ),
    Code(
        "LB453",
        "Too few samples to choose bits on",
        "Bits are chosen on calibration samples and verified on others, and there are not enough "
        "for both.",
        "A mix that is measured on the samples it was made from looks better than it is.",
        "Give more samples with --calib, or samples to verify on with --data.",
    ),
    Code(
        "LB454",
        "The drop was verified on few samples",
        "Bits were chosen for a drop smaller than one in the samples that verified it.",
        "Where n samples show no loss at all, the true loss may still be about 3 / n.",
        "Give more samples with --calib, of which a quarter is kept apart, or with --data.",
    ),
)
