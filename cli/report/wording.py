"""Numbers and names as the page spells them."""

from __future__ import annotations

from lowbitc.compiler.statistics.error_sums import NO_ERROR_DB

_SI = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_HIGH = 0.9995


def share(value: float) -> str:
    """Spell a share in percent: 12.3 %, but 99.97 % near the ends."""
    if value in {0.0, 1.0}:
        return f"{100 * value:.0f} %"
    if not 1 - _HIGH < value < _HIGH:
        return f"{100 * value:.2f} %"
    return f"{100 * value:.1f} %"


def quantity(value: float, unit: str = "") -> str:
    """Spell a number with an SI prefix, to three digits: 1.23 mJ."""
    size = abs(value)
    for factor, prefix in _SI:
        if size >= factor:
            return f"{_digits(value / factor)} {prefix}{unit}".rstrip()
    return f"{_digits(value / 1e-12)} p{unit}" if value else f"0 {unit}".rstrip()


def _digits(value: float) -> str:
    return f"{value:.{max(0, 3 - len(str(int(abs(value)))))}f}"


def decibels(value: float, unit: str = "") -> str:
    """Spell a ratio of powers; no error at all is said as such."""
    return "exact" if value >= NO_ERROR_DB else f"{value:.1f}{unit}"


def size_bytes(value: int) -> str:
    """Spell a size of memory."""
    return quantity(float(value), "B")


def shortened(name: str, letters: int) -> str:
    """Return a name that fits: its end is what tells layers apart."""
    return name if len(name) <= letters else f"…{name[1 - letters :]}"
