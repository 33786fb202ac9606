"""Calibration (LB3xx): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB301",
        "No calibration samples",
        "The calibration data holds no sample.",
        "The clip of an activation is chosen from what the float network computes on samples.",
        "Give an .npz, a folder of images or module:function with samples; 128 are plenty.",
    ),
    Code(
        "LB302",
        "Calibration gives values that are not finite",
        "A layer of the float network put out NaN or infinity on a calibration sample.",
        "No clip can be chosen, and the float model itself is broken on this data.",
        "Check the preprocessing of the samples, and the weights of layers before the one named.",
    ),
    Code(
        "LB303",
        "An activation is always zero",
        "Every calibration sample gives zero at this value.",
        "Its clip cannot be chosen from data; the layer may be dead, or the samples too narrow.",
        "Use samples that look like what the network will see.",
    ),
    Code(
        "LB310",
        "Calibrated without data",
        "No calibration data was given and none lies beside the model. For a network with batch "
        "norms that reads images, images were made up, in the range of numbers that fits the "
        "statistics best; for any other, ranges were estimated from the weights.",
        "Made-up images cost little at 8 bits and more the fewer the bits (docs/accuracy.md has "
        "figures); estimated ranges cost a lot below 8 bits. Real samples are always better.",
        "Give samples with --calib, or put MODEL.calib.npz beside the model.",
    ),
)
