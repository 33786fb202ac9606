"""Made-up inputs for networks whose real data cannot be shipped: text, tones, speech, boxes.

All generators take a count and a seed and give the same arrays each time.
"""

from __future__ import annotations

import importlib
import random
import string
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

RATE = 16_000
"""Samples a second of all sounds."""
_FONTS = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "LiberationSans-Regular.ttf")
_FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "C:/Windows/Fonts")


def load_font(index: int, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return one of the machine's fonts, or Pillow's own where it has none."""
    found = [
        path
        for folder in _FONT_FOLDERS
        for name in _FONTS
        for path in sorted(Path(folder).rglob(name))
    ]
    if not found:
        return ImageFont.load_default(size)
    return ImageFont.truetype(str(found[index % len(found)]), size)


def smooth_images(count: int, channels: int, size: int, seed: int) -> Float32:
    """Return images [n, C, size, size] in 0..255: coarse noise enlarged, and edges on top."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, channels, size, size), np.float32)
    for index in range(count):
        coarse = rng.integers(0, 256, (8, 8, channels), dtype=np.uint8)
        planes = [
            Image.fromarray(coarse[..., c]).resize((size, size), Image.Resampling.BICUBIC)
            for c in range(channels)
        ]
        for _ in range(6):
            box = np.sort(rng.integers(0, size, (2, 2)), axis=0)
            corners = (*box[0].tolist(), *box[1].tolist())
            for plane in planes:
                ImageDraw.Draw(plane).rectangle(corners, fill=int(rng.integers(0, 256)))
        images[index] = np.stack([np.asarray(plane) for plane in planes])
    return images


def resized_images(images: Float32, size: int) -> Float32:
    """Return images [n, C, size, size] of images [n, C, H, W] in 0..255."""
    made = np.empty((len(images), images.shape[1], size, size), np.float32)
    for index, image in enumerate(images):
        for channel, plane in enumerate(image):
            picture = Image.fromarray(plane.clip(0, 255).astype(np.uint8))
            made[index, channel] = np.asarray(picture.resize((size, size)))
    return made


def text_lines(count: int, width: int, seed: int) -> tuple[Float32, list[str]]:
    """Return rendered digits [n, 1, 32, width] in −1..1, dark on light, and their texts."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, 1, 32, width), np.float32)
    texts: list[str] = []
    for index in range(count):
        text = "".join(rng.choice(list(string.digits), int(rng.integers(4, 9))).tolist())
        light = int(rng.integers(215, 256))
        picture = Image.new("L", (width, 32), light)
        font = load_font(int(rng.integers(0, 4)), int(rng.integers(20, 25)))
        ink = int(rng.integers(0, 60))
        ImageDraw.Draw(picture).text((int(rng.integers(4, 12)), 2), text, fill=ink, font=font)
        noise = rng.normal(0, 3, (32, width))
        images[index, 0] = (np.asarray(picture) + noise).clip(0, 255) / 127.5 - 1
        texts.append(text)
    return images, texts


def captchas(count: int, seed: int) -> tuple[Float32, list[str]]:
    """Return captchas of PyPI's ``captcha`` [n, 3, 60, 160], BGR in 0..255, and their texts.

    Letters are drawn in upper case, texts are in lower case. The zero, the one, I and O, which a
    captcha leaves out so as not to be mistaken, were never seen by the network either: it reads
    them as Q, 7, T and Q.
    """
    drawing: Any = importlib.import_module("captcha.image")  # wanted for one network only
    drawing.secrets = _Seeded(seed)  # the package takes its draws from there, and no seed

    rng = np.random.default_rng(seed)
    maker = drawing.ImageCaptcha(width=160, height=60)
    letters = [c for c in string.digits + string.ascii_uppercase if c not in "01IO"]
    images = np.empty((count, 3, 60, 160), np.float32)
    texts: list[str] = []
    for index in range(count):
        text = "".join(rng.choice(letters, 4).tolist())
        picture = np.asarray(maker.generate_image(text).convert("RGB"))
        images[index] = picture[:, :, ::-1].transpose(2, 0, 1)
        texts.append(text.lower())
    return images, texts


class _Seeded(random.Random):
    """What the captcha package asks of ``secrets``, from a seed."""

    def randbelow(self, bound: int) -> int:
        """Return an integer from 0 to ``bound`` − 1."""
        return self.randrange(bound)

    def randbits(self, count: int) -> int:
        """Return an integer of so many bits."""
        return self.getrandbits(count)


def tones(count: int, length: int, seed: int) -> tuple[Float32, Float64]:
    """Return frames [n, length] of harmonic tones with noise, normalised, and their pitch in Hz."""
    rng = np.random.default_rng(seed)
    time = np.arange(length) / RATE
    frames = np.empty((count, length), np.float32)
    pitches = np.exp(rng.uniform(np.log(60), np.log(1200), count))
    for index, pitch in enumerate(pitches):
        wave = np.zeros(length)
        slope = rng.uniform(0.5, 2)
        for order in range(1, 13):
            if order * pitch < RATE / 2:
                phase = rng.uniform(0, 2 * np.pi)
                wave += order**-slope * np.sin(2 * np.pi * order * pitch * time + phase)
        wave += rng.normal(0, 0.05, length)
        wave -= wave.mean()
        frames[index] = wave / max(wave.std(), 1e-8)
    return frames, pitches


def voices(count: int, length: int, seed: int) -> Float32:
    """Return sounds [n, length] in −1..1: voiced syllables with formants, pauses and noise."""
    rng = np.random.default_rng(seed)
    sounds = np.empty((count, length), np.float32)
    time = np.arange(length) / RATE
    for index in range(count):
        pitch = rng.uniform(90, 220) * (1 + 0.05 * np.sin(2 * np.pi * rng.uniform(2, 5) * time))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        wave = np.zeros(length)
        formants = (rng.uniform(300, 800), rng.uniform(900, 2300), rng.uniform(2400, 3200))
        for order in range(1, 30):
            weight = sum(np.exp(-(((order * pitch.mean() - f) / 180) ** 2)) for f in formants)
            wave += (weight + 0.02) * np.sin(order * phase)
        syllables = np.sin(2 * np.pi * rng.uniform(2, 5) * time + rng.uniform(0, 6)) > rng.uniform(
            -0.6, 0.6
        )
        gate = np.convolve(syllables, np.ones(400) / 400, "same")
        mixed = 0.1 * rng.uniform(0.3, 2) * wave * gate + rng.normal(0, 0.01, length)
        sounds[index] = mixed.clip(-1, 1)
    return sounds


def machine_frames(count: int, seed: int) -> Float32:
    """Return five joined frames of a log-mel spectrum [n, 640] of made-up machine sounds."""
    rng = np.random.default_rng(seed)
    mel = _mel_filters(128, 1024)
    frames = np.empty((count, 640), np.float32)
    length = 1024 + 4 * 512
    time = np.arange(length) / RATE
    for index in range(count):
        wave = rng.normal(0, 0.003, length)
        hum = rng.uniform(50, 400)
        for order in range(1, 20):
            level = 0.02 * rng.uniform(0.2, 1) / order
            wave += level * np.sin(2 * np.pi * order * hum * time + rng.uniform(0, 6))
        spectra = [
            np.abs(np.fft.rfft(wave[s : s + 1024] * np.hanning(1024))) ** 2
            for s in range(0, 5 * 512, 512)
        ]
        logs = [10 * np.log10(mel @ spectrum + 1e-12) for spectrum in spectra]
        frames[index] = np.concatenate(logs)
    return frames


def _mel_filters(count: int, window: int) -> Float64:
    def to_mel(hertz: float) -> float:
        return 2595 * float(np.log10(1 + hertz / 700))

    edges = 700 * (10 ** (np.linspace(0, to_mel(RATE / 2), count + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(window, 1 / RATE)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edges[2:] - edges[:-2]))[:, None])


def token_ids(count: int, length: int, seed: int) -> tuple[Int64, Int64]:
    """Return BERT word ids [n, length] of made-up sentences, and their masks."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((count, length), np.int64)
    mask = np.zeros((count, length), np.int64)
    for index in range(count):
        words = int(rng.integers(5, length - 2))
        # The uncased vocabulary lists words by frequency from 1996 on; Zipf draws them so.
        chosen = 1996 + np.minimum(rng.zipf(1.2, words), 20_000)
        ids[index, : words + 2] = [101, *chosen.tolist(), 102]
        mask[index, : words + 2] = 1
    return ids, mask


def glyph_scenes(count: int, size: int, seed: int) -> Float32:
    """Return pictures [n, 3, size, size] in 0..255 with large glyphs drawn on smooth grounds."""
    rng = np.random.default_rng(seed)
    grounds = smooth_images(count, 3, size, seed)
    images = np.empty_like(grounds)
    for index, ground in enumerate(grounds):
        picture = Image.fromarray(ground.transpose(1, 2, 0).astype(np.uint8))
        pen = ImageDraw.Draw(picture)
        for _ in range(int(rng.integers(2, 6))):
            font = load_font(int(rng.integers(0, 4)), int(rng.integers(size // 10, size // 4)))
            at = rng.integers(0, size * 3 // 4, 2)
            ink = tuple(int(v) for v in rng.integers(0, 256, 3))
            letter = str(rng.choice(list(string.ascii_uppercase + string.digits)))
            pen.text((int(at[0]), int(at[1])), letter, fill=ink, font=font)
        images[index] = np.asarray(picture).transpose(2, 0, 1)
    return images
