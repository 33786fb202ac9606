"""Open a data set from what a user gives: a path, ``module:function``, arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.datasets.arrays import array_dataset, read_npz
from lowbitc.compiler.datasets.functions import function_dataset
from lowbitc.compiler.datasets.images import image_folder
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.datasets.preprocess import Preprocess
    from lowbitc.compiler.datasets.stream import Dataset, InputSpec
    from lowbitc.compiler.elements import Array

DataSource = str | Path | Mapping[str, "Array"]
_FILES = (".npz", ".npy")


def open_dataset(
    source: DataSource, specs: Sequence[InputSpec], preprocess: Preprocess | None = None
) -> Dataset:
    """Open an .npz or .npy file, a folder of images, ``package.module:function``, or arrays.

    Raises CompileError LB72x with everything that does not fit the model's inputs.
    """
    if isinstance(source, Mapping):
        return array_dataset("the data", {k: np.asarray(v) for k, v in source.items()}, specs)
    path = Path(source)
    if path.is_dir():
        if preprocess is None or len(specs) != 1:
            raise CompileError([_no_preprocess(path)])
        return image_folder(path, specs[0], preprocess)
    if path.suffix in _FILES:
        return read_npz(path, specs)
    text = str(source)
    if ":" in text and not path.exists():
        return function_dataset(text, specs)
    raise CompileError(
        [
            error(
                "LB727",
                f"{text} is no data set",
                found="no such file or folder" if not path.exists() else f"a {path.suffix} file",
                allowed="an .npz or .npy file, a folder of images, package.module:function",
                hint="check the path",
            )
        ]
    )


def _no_preprocess(path: Path) -> Diagnostic:
    return error(
        "LB728",
        f"{path} is a folder of images, and nothing says how an image becomes the model's input",
        found="no [preprocess] table",
        allowed="a [preprocess] table in lowbitc.toml beside the model, and a model of one input",
        hint='for example [preprocess] size = [224, 224], color = "rgb", mean = [127], '
        "scale = [0.0078125]",
    )
