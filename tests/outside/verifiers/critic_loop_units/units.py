"""Units and what they are worth. Knows nothing of Critic Loop."""

import re
from typing import NamedTuple

FACTORS = {
    "mm": ("length", 0.001), "m": ("length", 1.0), "km": ("length", 1000.0), "mile": ("length", 1609.344),
    "s": ("time", 1.0), "min": ("time", 60.0), "h": ("time", 3600.0),
}  # fmt: skip
_QUANTITY = re.compile(r"(-?\d+(?:\.\d+)?)\s*([a-z]+)")


class Measure(NamedTuple):
    """An amount of length or time, in metres or seconds."""

    kind: str
    amount: float


def measure(text: str, factors: dict[str, tuple[str, float]]) -> Measure | None:
    """Return the last quantity that a text names, such as `1.5 km`; None if it names none of these units."""
    found = [(float(number), unit) for number, unit in _QUANTITY.findall(text) if unit in factors]
    if not found:
        return None
    number, unit = found[-1]
    kind, factor = factors[unit]
    return Measure(kind, number * factor)
