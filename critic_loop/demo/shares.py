"""Shares with their uncertainty: intervals, an exact paired test, what one revision should come to.

Standard library only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Counts: TypeAlias = tuple[int, int]
"""Hits, and of how many."""

_Z = 1.959963984540054


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share."""
    share = hits / total
    middle = (share + _Z**2 / (2 * total)) / (1 + _Z**2 / total)
    half = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2)) / (1 + _Z**2 / total)
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar(wins: int, losses: int) -> float:
    """Return the two-sided exact p-value of McNemar's test: a fair coin over the discordant pairs."""
    n, fewer = wins + losses, min(wins, losses)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)


def auc(scores: Sequence[float], truths: Sequence[bool]) -> float:
    """Return how often a true one has the higher score than a false one; equal scores count half.

    0.5 where one kind is missing.
    """
    ranked = sorted(zip(scores, truths, strict=True), key=lambda pair: pair[0])
    positives = sum(truths)
    negatives = len(ranked) - positives
    if not positives or not negatives:
        return 0.5
    wins, seen = 0.0, 0
    for _, group in itertools.groupby(ranked, key=lambda pair: pair[0]):
        kinds = [truth for _, truth in group]
        true_ones = sum(kinds)
        false_ones = len(kinds) - true_ones
        wins += true_ones * (seen + false_ones / 2)
        seen += false_ones
    return wins / (positives * negatives)


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
