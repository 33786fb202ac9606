"""The gate (LB737, LB738, LB75x, LB76x): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB737",
        "The data is not in the range of the calibration",
        "Many values of an input lie outside what its levels stand for, or use a small part of it.",
        "That is what wrong preprocessing looks like: bytes where shares were calibrated, or the "
        "other way round. Float and program then fail alike, and a drop hides it.",
        "Prepare evaluation data as calibration data was. `--accept-range` measures all the same.",
    ),
    Code(
        "LB738",
        "The float model knows nothing on this data",
        "The float model does not beat a network that always says the same.",
        "A program cannot lose what its model never had: the drop is 0, and means nothing.",
        "Check that labels belong to the samples, and the preprocessing.",
    ),
    Code(
        "LB750",
        "A baseline cannot be read",
        "The file is missing, damaged, or not what --write-baseline writes.",
        "Nothing can be compared with it.",
        "Write it again with --write-baseline.",
    ),
    Code(
        "LB751",
        "A baseline is about something else",
        "The baseline was measured on other samples, on another number of them, or with other "
        "metrics.",
        "Figures of different data are not comparable; the digest covers every sample and label.",
        "Give the data and the metrics that the baseline has, or write a new one.",
    ),
    Code(
        "LB753",
        "The result cannot be written",
        "A file of --output could not be written: the folder is missing, or the disk is full.",
        "A gate whose result is lost has not passed.",
        "Make room, or name another file.",
    ),
    Code(
        "LB754",
        "The gate did not finish",
        "The result is the one that stands there while the gate runs.",
        "The run was killed, or its machine stopped.",
        "Run it again; look for what ended it.",
    ),
    Code(
        "LB755",
        "Samples are repeated",
        "The same sample occurs more than once; half of the data or more stops the gate.",
        "Copies add no evidence, but every interval would count them.",
        "Remove the copies.",
    ),
    Code(
        "LB756",
        "The work could not be spread",
        "Processes or workers of Dask ended again and again, cannot be reached, or have another "
        "version of lowbitc.",
        "Part of the data was not measured.",
        "Look at the memory of the workers; --jobs 1 measures in one process. A script of your own "
        'that asks for jobs needs `if __name__ == "__main__":` around what it does.',
    ),
    Code(
        "LB757",
        "The float model is another one",
        "Inputs or outputs of --reference differ from the program's.",
        "A drop from another model says nothing about the compilation.",
        "Give the ONNX model that was compiled.",
    ),
    Code(
        "LB758",
        "The cost cannot be measured",
        "Nothing of the network runs on the chip.",
        "Its cost by the model is 0, which would meet every budget.",
        "`lowbitc inspect` says why layers are on the CPU.",
    ),
    Code(
        "LB759",
        "Dask is not installed",
        "--dask was given, and the package distributed is missing.",
        "It is an extra, since most gates need one machine.",
        "pip install 'lowbitc[distributed]', here and on the workers.",
    ),
    Code(
        "LB760",
        "A calibration sample is in the data",
        "The data has the calibration sample that the program holds; where bits are searched or "
        "swept, any sample that calibrates.",
        "Figures on data that calibration saw are too good.",
        "Keep calibration and evaluation data apart.",
    ),
)
