"""Metrics by their spelling: ``top1``, ``cer,charset=chars.json``, ``module:function``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.metrics.classification import F1, Agreement, TopK
from lowbitc.compiler.metrics.detection import AveragePrecision
from lowbitc.compiler.metrics.fidelity import MeanSquaredError, SignalToNoise
from lowbitc.compiler.metrics.functions import Decoded, FunctionMetric, find_function
from lowbitc.compiler.metrics.ranking import RocAuc
from lowbitc.compiler.metrics.sequences import CharacterErrors, ExactMatch, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lowbitc.compiler.metrics.metric import Metric

    Options = Mapping[str, str]

_TOP5 = 5


def _reading(options: Options) -> Reading:
    charset = options.get("charset", "")
    return Reading(
        blank=_whole("blank", options.get("blank", "0")),
        charset=_charset(Path(charset)) if charset else (),
        output=options.get("output", ""),
    )


_MAKERS: Mapping[str, Callable[[Options], Metric]] = {
    "top1": lambda o: TopK(output=o.get("output", "")),
    "top5": lambda o: TopK("top5", _TOP5, o.get("output", "")),
    "agreement": lambda o: Agreement(output=o.get("output", "")),
    "mse": lambda o: MeanSquaredError(output=o.get("output", "")),
    "sqnr": lambda o: SignalToNoise(output=o.get("output", "")),
    "f1": lambda o: F1(threshold=_number(o), output=o.get("output", "")),
    "f1-macro": lambda o: F1("f1-macro", macro=True, output=o.get("output", "")),
    "auc": lambda o: RocAuc(output=o.get("output", "")),
    "exact": lambda o: ExactMatch(_reading(o)),
    "cer": lambda o: CharacterErrors(_reading(o)),
    "ap50": lambda o: AveragePrecision(output=o.get("output", "")),
}
_ALWAYS = frozenset({"output", "decode"})
_OWN = {
    "f1": frozenset({"threshold"}),
    "exact": frozenset({"blank", "charset"}),
    "cer": frozenset({"blank", "charset"}),
}
METRICS = tuple(_MAKERS)
"""Names of the metrics that are built in."""


def parse_metric(spelled: str) -> Metric:
    """Return the metric of ``NAME[,option=value]…`` or ``package.module:function``.

    Raises CompileError LB731 for what is not spelled so, LB739 for a function that cannot be used.
    """
    name, *rest = [part.strip() for part in spelled.split(",")]
    options = dict(_option(spelled, part) for part in rest)
    decode = options.get("decode")
    if ":" in name:
        _only(spelled, options, frozenset({"decode"}))
        find_function(name)
        found: Metric = FunctionMetric(name, name)
    elif name in _MAKERS:
        _only(spelled, options, _ALWAYS | _OWN.get(name, frozenset()))
        found = _MAKERS[name](options)
    else:
        raise _wrong("unknown metric", spelled, ", ".join((*METRICS, "package.module:function")))
    if decode is None:
        return found
    find_function(decode)
    return Decoded(found, decode)


def parse_metrics(spelled: Iterable[str]) -> tuple[Metric, ...]:
    """Return metrics of different names; raises CompileError LB731 for one that is there twice."""
    found = tuple(parse_metric(text) for text in spelled)
    names = [metric.name for metric in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _wrong("a metric is asked for twice", ", ".join(twice), "each metric once")
    return found


def default_metrics(classes: int) -> tuple[Metric, ...]:
    """Return what is measured where nothing is asked for: top-1, and top-5 where it says more."""
    return (TopK(), TopK("top5", _TOP5)) if classes > _TOP5 else (TopK(),)


def default_names(tallies: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names of ``default_metrics`` that were measured."""
    return tuple(metric.name for metric in default_metrics(_TOP5 + 1) if metric.name in tallies)


def _option(spelled: str, part: str) -> tuple[str, str]:
    key, mark, value = part.partition("=")
    if not mark or not key or not value:
        raise _wrong("an option of a metric is not spelled option=value", spelled, "option=value")
    return key, value


def _only(spelled: str, options: Options, allowed: frozenset[str]) -> None:
    if unknown := sorted(set(options) - allowed):
        raise _wrong(
            "the metric has no such option",
            f"{', '.join(unknown)} in {spelled}",
            ", ".join(sorted(allowed)),
        )


def _whole(name: str, text: str) -> int:
    if not text.isdecimal():
        raise _wrong(f"{name} is no whole number", text, "a class, for example 0")
    return int(text)


def _number(options: Options) -> float:
    text = options.get("threshold", "0.5")
    try:
        return float(text)
    except ValueError as problem:
        raise _wrong("threshold is no number", text, "for example 0.5") from problem


def _charset(path: Path) -> tuple[str, ...]:
    """Read a charset: a text or a list of texts in JSON, or else the characters of a text file."""
    try:
        text = path.read_text(encoding="utf-8")
        held: object = json.loads(text) if path.suffix == ".json" else text.rstrip("\n")
    except (OSError, ValueError) as problem:
        raise _wrong("the charset cannot be read", f"{path}: {problem}", "UTF-8") from problem
    symbols = tuple(cast("str | list[object]", held)) if isinstance(held, (str, list)) else ()
    if not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        raise _wrong("the charset is no text", str(path), "a text, or a list of texts")
    return tuple(str(symbol) for symbol in symbols)


def _wrong(message: str, found: str, allowed: str) -> CompileError:
    return CompileError(
        [error("LB731", message, found=found, allowed=allowed, hint="see docs/gate.md")]
    )
