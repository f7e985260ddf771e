"""Units and what they are worth. Knows nothing of Critic Loop."""

import re
from collections.abc import Mapping
from typing import NamedTuple


class Measure(NamedTuple):
    """An amount of length in metres, or of time in seconds."""

    kind: str
    amount: float


UNITS = {
    "mm": Measure("length", 0.001),
    "m": Measure("length", 1.0),
    "km": Measure("length", 1000.0),
    "mile": Measure("length", 1609.344),
    "s": Measure("time", 1.0),
    "min": Measure("time", 60.0),
    "h": Measure("time", 3600.0),
}
_QUANTITY = re.compile(r"(-?\d+(?:\.\d+)?)\s*([a-z]+)")


def measure(text: str, units: Mapping[str, Measure] = UNITS) -> Measure | None:
    """Return the last quantity that a text names, such as `1.5 km`; None if it names none of these units."""
    found = [(float(number), units[unit]) for number, unit in _QUANTITY.findall(text) if unit in units]
    if not found:
        return None
    number, unit = found[-1]
    return Measure(unit.kind, number * unit.amount)
