"""Give every input a static shape: the batch becomes 1, other free dimensions need --shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import Diagnostic, error, note
from lowbitc.compiler.frontend.types import value_type
from lowbitc.compiler.ir.types import UNKNOWN, TensorType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ValueInfoProto

    from lowbitc.compiler.ir.types import ValueType


def _sizes() -> dict[str, int]:
    return {}


def _types() -> dict[str, ValueType]:
    return {}


def _found() -> list[Diagnostic]:
    return []


@dataclass(frozen=True, slots=True)
class Bound:
    """Types of the inputs; sizes of the model's symbols; what was noticed."""

    types: dict[str, ValueType] = field(default_factory=_types)
    sizes: dict[str, int] = field(default_factory=_sizes)
    found: list[Diagnostic] = field(default_factory=_found)


def bind_inputs(
    inputs: Sequence[ValueInfoProto], shapes: Mapping[str, Sequence[int | None]]
) -> Bound:
    """Bind dimensions of inputs: those in ``shapes``, then dimension 0 to 1."""
    bound = Bound()
    known = {info.name for info in inputs}
    for name in sorted(set(shapes) - known):
        bound.found.append(
            error(
                "LB116",
                f"--shape {name}: the model has no such input",
                found=name,
                allowed=", ".join(sorted(known)) or "no inputs",
            )
        )
    open_dims = {info.name: _dims(info, shapes.get(info.name), bound) for info in inputs}
    _bind_batch(open_dims, bound)
    for info in inputs:
        held = value_type(info.type, {})
        if not isinstance(held, TensorType):
            if held is None:
                bound.found.append(_no_type(info.name))
            else:
                bound.types[info.name] = held
            continue
        dims = open_dims[info.name]
        if dims is None:
            bound.found.append(_no_rank(info.name))
            continue
        sizes = tuple(_size(place, dim, bound) for place, dim in enumerate(dims))
        bound.found.extend(_free(info.name, dims, sizes))
        bound.types[info.name] = TensorType(sizes, held.element)
    return bound


def _size(place: int, dim: int | str, bound: Bound) -> int:
    if isinstance(dim, int):
        return dim
    return bound.sizes.get(dim, UNKNOWN if place else 1)


def _dims(
    info: ValueInfoProto, wanted: Sequence[int | None] | None, bound: Bound
) -> tuple[int | str, ...] | None:
    """Return the dimensions of an input: numbers, or names of symbols ("" for a nameless one)."""
    if not info.type.HasField("tensor_type") or not info.type.tensor_type.HasField("shape"):
        if wanted is None:
            return None
        return tuple(size if size is not None else "" for size in wanted)
    dims: list[int | str] = []
    for place, dim in enumerate(info.type.tensor_type.shape.dim):
        dims.append(dim.dim_value if dim.dim_value > 0 else dim.dim_param)
        if wanted is None or place >= len(wanted) or wanted[place] is None:
            continue
        size = wanted[place] or 0
        last = dims[-1]
        # Some exporters spell a free dimension as 0; only who says 0 again means an empty tensor.
        empty = not size and dim.HasField("dim_value") and not dim.dim_value
        if size < 1 and not empty:
            bound.found.append(_refuse(info, wanted, f"{size} is no size of a dimension"))
        elif isinstance(last, int) and last != size:
            reason = f"dimension {place} is {last} in the model"
            bound.found.append(_refuse(info, wanted, reason))
        elif isinstance(last, str) and bound.sizes.get(last, size) != size:
            reason = f"dimension {place} ({last}) is {bound.sizes[last]} in another place"
            bound.found.append(_refuse(info, wanted, reason))
        else:
            if isinstance(last, str) and last:
                bound.sizes[last] = size
            dims[-1] = size
    if wanted is not None and len(wanted) != len(dims):
        reason = f"the input has {len(dims)} dimensions, not {len(wanted)}"
        bound.found.append(_refuse(info, wanted, reason))
    return tuple(dims)


def _bind_batch(open_dims: Mapping[str, tuple[int | str, ...] | None], bound: Bound) -> None:
    """Bind dimension 0 of every input to 1 where it is free, and note it once a symbol."""
    batches: dict[str, list[str]] = {}
    for name, dims in open_dims.items():
        if dims and isinstance(dims[0], str) and dims[0] not in bound.sizes:
            batches.setdefault(dims[0], []).append(name)
    for symbol, names in batches.items():
        if symbol:
            bound.sizes[symbol] = 1
        called = f"the batch dimension {symbol!r}" if symbol else "the nameless batch dimension"
        message = f"{called} of {', '.join(names)} is compiled as 1; any number of samples can run"
        hint = f"if it counts no independent samples, give its size: --shape {names[0]}=<size>,…"
        bound.found.append(note("LB117", message, hint=hint))


def _free(name: str, dims: tuple[int | str, ...], sizes: tuple[int, ...]) -> list[Diagnostic]:
    """Report every dimension that still has no size, with the option that gives it one."""
    spelled = [
        "N" if place == 0 and isinstance(dim, str) else str(size)
        for place, (dim, size) in enumerate(zip(dims, sizes, strict=True))
    ]
    free = [place for place, size in enumerate(sizes) if size == UNKNOWN and place > 0]
    for place in free:
        dim = dims[place]
        spelled[place] = f"<{dim}>" if dim else f"<dim{place}>"
    option = f"--shape {name}={','.join(spelled)}"
    holes = ", ".join(spelled[place] for place in free)
    return [
        error(
            "LB115",
            f"dimension {place} ({dims[place] or 'nameless'}) of input {name} has no size",
            found=f"[{', '.join(str(d) or '?' for d in dims)}]",
            allowed="numbers in all dimensions but the batch",
            hint=f"write {option} with a number for {holes}",
        )
        for place in free
    ]


def _refuse(info: ValueInfoProto, wanted: Sequence[int | None], reason: str) -> Diagnostic:
    shape = info.type.tensor_type.shape
    stated = [str(d.dim_value) if d.dim_value > 0 else d.dim_param or "?" for d in shape.dim]
    given = ",".join("N" if size is None else str(size) for size in wanted)
    return error(
        "LB116",
        f"--shape {info.name}={given} does not fit: {reason}",
        found=f"[{given}]",
        allowed=f"[{', '.join(stated)}]",
    )


def _no_type(name: str) -> Diagnostic:
    return error("LB115", f"input {name} has no type", hint="export the model again with types")


def _no_rank(name: str) -> Diagnostic:
    return error(
        "LB115",
        f"input {name} has no shape at all",
        hint=f"write --shape {name}=N,3,224,224, with its own numbers",
    )
