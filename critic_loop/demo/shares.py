"""Shares with their uncertainty: the 95 % Wilson interval and an exact paired test. Standard library only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

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
