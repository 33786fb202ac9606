"""Run ONNX's own backend tests and say what failed."""

from __future__ import annotations

import json
import os
import tempfile
import unittest
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test import BackendTest

from lowbitc.compiler.onnx_session import OnnxSession

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType

    from onnx import ModelProto

SKIPS = Path(__file__).with_name("skips.json")
ALONE = "ONNX Runtime alone fails too: "
DIFFERS = f"{ALONE}its result differs from ONNX's reference"
NO_LOCALE = f"{ALONE}the machine lacks the locale"
DEPENDS_ON_THE_MACHINE = (DIFFERS, NO_LOCALE)
_PREFIX, _SUFFIX = "OnnxBackend", "ModelTest"


@dataclass(frozen=True)
class Skips:
    """Tests that may fail, by reason, and the versions of the packages with which they did."""

    onnx: str
    onnxruntime: str
    reasons: Mapping[str, Collection[str]]

    @property
    def names(self) -> set[str]:
        """All tests listed."""
        return {name for names in self.reasons.values() for name in names}

    @property
    def binding(self) -> set[str]:
        """Those that must fail wherever these versions run; others depend on the machine."""
        free = (self.reasons.get(reason, ()) for reason in DEPENDS_ON_THE_MACHINE)
        return self.names.difference(*free)

    @property
    def current(self) -> bool:
        """Whether the list was made with the packages that are installed."""
        return (self.onnx, self.onnxruntime) == (version("onnx"), version("onnxruntime"))


def read_skips() -> Skips:
    """Read the list that is checked in."""
    return Skips(**json.loads(SKIPS.read_text(encoding="utf-8")))


class PlainModel(BackendRep):
    """An untouched model in ONNX Runtime."""

    def __init__(self, model: ModelProto) -> None:
        self._session = OnnxSession(model.SerializeToString(), threads=1)

    def run(self, inputs: Any, **_options: object) -> tuple[Any, ...]:  # noqa: ANN401 - as onnx has it
        given = [_as_array(value) for value in inputs]
        feeds = dict(zip(self._session.inputs, given, strict=False))
        return tuple(self._session.run(feeds).values())


def _as_array(value: Any) -> Any:  # noqa: ANN401 - as onnx has it
    return np.asarray(value) if np.isscalar(value) else value


class PlainBackend(Backend):
    """ONNX Runtime without lowbitc: what fails here cannot be lowbitc's fault."""

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **_options: object) -> PlainModel:
        assert device == "CPU"
        return PlainModel(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


class _Failures(unittest.TestResult):
    """Keeps what each failing test said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, str] = {}

    def addFailure(  # noqa: N802 - unittest's name
        self, test: unittest.TestCase, err: _Info
    ) -> None:
        self._keep(test, err)

    def addError(self, test: unittest.TestCase, err: _Info) -> None:  # noqa: N802 - unittest's name
        self._keep(test, err)

    def _keep(self, test: unittest.TestCase, err: _Info) -> None:
        kind, value, _ = err
        name = kind.__name__ if kind is not None else "?"
        self.said[_title(test)] = f"{name}: {value}"


if TYPE_CHECKING:
    _Info = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


def _title(test: unittest.TestCase) -> str:
    """Return the test's set and name, such as ``Node test_abs``."""
    group = type(test).__name__.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    return f"{group} {test.id().rsplit('.', 1)[-1].removesuffix('_cpu')}"


def run_suite(backend: type[Backend], only: Collection[str] = ()) -> dict[str, str]:
    """Run the tests (of ``only``, where it names some); map each to "" or to what it said."""
    found: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, ONNX_HOME=folder),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # onnx makes its test data with overflows and NaN
        failures = _Failures()
        for case in BackendTest(backend, __name__).test_cases.values():
            names = [n for n in unittest.defaultTestLoader.getTestCaseNames(case) if "_cpu" in n]
            for test in map(case, names):
                title = _title(test)
                if not only or title in only:
                    test.run(failures)
                    found[title] = failures.said.get(title, "")
    return found
