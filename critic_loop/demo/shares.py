"""What one critique and one revision should come to, with its uncertainty. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

Counts: TypeAlias = tuple[int, int]
"""Hits, and of how many."""

_Z = 1.959963984540054


def after_one_revision(rates: Mapping[str, Counts]) -> tuple[float, tuple[float, float]]:
    """Predict how many answers are right after one critique and one revision, with a 95 % interval.

    `acc1 = p(1 - b*g) + (1 - p)*a*f`; what the rates do not know is carried over by the delta method.

    Args:
        rates: `p` drafts that are right; `a` wrong ones that the critic rejects; `g` right ones that it
            rejects; `f` rejected wrong ones that the revision mends; `b` rejected right ones that it breaks.
    """
    p, a, g, f, b = (hits / total if total else 0.0 for hits, total in (rates[name] for name in "pagfb"))
    slopes = {"p": 1 - b * g - a * f, "a": (1 - p) * f, "g": -p * b, "f": (1 - p) * a, "b": -p * g}
    variance = sum(
        slopes[name] ** 2 * (hits / total) * (1 - hits / total) / total
        for name, (hits, total) in rates.items()
        if name in slopes and total
    )
    predicted, half = p * (1 - b * g) + (1 - p) * a * f, _Z * math.sqrt(variance)
    return predicted, (max(0.0, predicted - half), min(1.0, predicted + half))
