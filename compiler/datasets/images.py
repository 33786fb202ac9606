"""Folders of images: one subfolder a class, or images alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.datasets.stream import Batch, InputSpec, check_array, empty
from lowbitc.compiler.diagnostics import CompileError, error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PIL import Image as Pillow

    from lowbitc.compiler.datasets.preprocess import Preprocess
    from lowbitc.compiler.elements import Array, Float32

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Images in the order of their names; classes are the subfolders in the order of theirs."""

    name: str
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    spec: InputSpec
    preprocess: Preprocess

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def batches(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Yield batches; images are read when their batch is asked for."""
        end = len(self.paths) if stop is None else min(stop, len(self.paths))
        for first in range(start, end, size):
            last = min(first + size, end)
            images = np.stack([read_image(p, self.preprocess) for p in self.paths[first:last]])
            labels = np.asarray(self.labels[first:last]) if self.labels else None
            yield Batch({self.spec.name: images}, labels)


def image_folder(folder: Path, spec: InputSpec, preprocess: Preprocess) -> ImageFolder:
    """List a folder; the first image is read to check its shape against the model."""
    classes = sorted(p for p in folder.iterdir() if p.is_dir())
    if classes:
        found = [(p, i) for i, c in enumerate(classes) for p in _images(c)]
    else:
        found = [(p, -1) for p in _images(folder)]
    if not found:
        raise CompileError([empty(str(folder))])
    first = read_image(found[0][0], preprocess)
    wrong = list(check_array(str(found[0][0]), spec, (1, *first.shape), first.dtype))
    if wrong:
        raise CompileError(wrong)
    labels = tuple(i for _, i in found) if classes else ()
    return ImageFolder(folder.name, tuple(p for p, _ in found), labels, spec, preprocess)


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)


def read_image(path: Path, preprocess: Preprocess) -> Float32:
    """Read one image as a sample of the model.

    Raises CompileError LB729 when it cannot be read.
    """
    try:
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - an extra
    except ImportError as problem:
        raise CompileError(
            [
                error(
                    "LB729",
                    "reading images needs Pillow",
                    hint="pip install 'lowbitc[images]'",
                )
            ]
        ) from problem
    try:
        with Image.open(path) as image:
            mode = "L" if preprocess.color == "gray" else "RGB"
            return preprocess.to_input(_crop(image.convert(mode), preprocess))
    except (OSError, UnidentifiedImageError, ValueError) as problem:
        raise CompileError(
            [
                error(
                    "LB729",
                    f"{path} cannot be read as an image",
                    found=str(problem),
                    hint="mend or remove the file",
                )
            ]
        ) from problem


def _crop(image: Pillow.Image, preprocess: Preprocess) -> Array:
    height, width = preprocess.size
    if preprocess.resize:
        ratio = preprocess.resize / min(image.size)
        wide, high = (max(round(side * ratio), 1) for side in image.size)
        image = image.resize((wide, high))
        left, top = (wide - width) // 2, (high - height) // 2
        image = image.crop((left, top, left + width, top + height))
    elif image.size != (width, height):
        image = image.resize((width, height))
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels  # noqa: PLR2004 - gray has no channel
