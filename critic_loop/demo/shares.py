"""Predicts the share of right answers after one critique and one revision. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

Counts: TypeAlias = tuple[int, int]
"""The number of hits, and the total."""

_Z = 1.959963984540054


def after_one_revision(rates: Mapping[str, Counts]) -> tuple[float, tuple[float, float]]:
    """Return the predicted share of right answers after one critique and one revision, and its 95 % interval.

    `acc1 = p(1 - b*g) + (1 - p)*a*f`; the interval follows from the rates' variances by the delta method.

    Args:
        rates: counts of `p`: drafts that are right; `a`: wrong drafts that the critic rejects; `g`: right
        drafts
            that it rejects; `f`: rejected wrong drafts that the revision fixes; `b`: rejected right drafts that
            it breaks.
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
