"""Numbers with their uncertainty: intervals, paired comparisons, ranking. Standard library only.

Knows lists of numbers by task. Does not know trees (`metrics.comparison` reads them). Everything that draws is
seeded: the same numbers give the same interval. A value is a solved task (1) or not (0), or any finite number.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

Interval: TypeAlias = tuple[float, float]
ByTask: TypeAlias = Mapping[str, Sequence[float]]
"""The values of each task's samples, at least one each, by the task's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean and where the true one lies."""

    mean: float
    low: float
    high: float
    tasks: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much better ours is than theirs on the same tasks."""

    tasks: int
    """Those that both have; others are left out."""
    ours: float
    """Mean over these tasks."""
    theirs: float
    difference: float
    """Ours less theirs."""
    low: float
    high: float
    better: int
    """Tasks on which ours is better."""
    worse: int
    mcnemar_p: float | None
    """Of McNemar's exact test; None unless each task has one sample on each side, and it is 0 or 1."""


# -- shares ----------------------------------------------------------------------------------------


def wilson(hits: int, total: int, *, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of a share; (0, 1) where nothing was counted.

    Raises:
        ValueError: hits are not within 0 and total, or the confidence is not within 0 and 1.

    **Source**: Wilson (1927), without continuity correction.
    """
    if not 0 <= hits <= total:
        raise ValueError(f"{hits} hits of {total} are no share")
    z = _z(confidence)
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    return (0.0 if hits == 0 else middle - half), (1.0 if hits == total else middle + half)


def clustered(values: ByTask, *, confidence: float = 0.95) -> Estimate:
    """Return the mean over all samples, with an interval that knows that a task's samples are alike.

    Samples of one task are no independent evidence: the standard error adds up deviations by task (with the
    factor G / (G - 1) for G tasks), and the interval takes Student's t with G - 1 degrees of freedom. It is not
    cut at 0 and 1. Where all values are equal it has no width: use `wilson` for single samples of 0 and 1.

    Raises:
        ValueError: there are fewer than two tasks, or one without samples.

    **Source**: Liang and Zeger (1986); for evaluations Miller (2024), who takes the normal quantile.
    """
    _require_samples(values)
    if len(values) < 2:
        raise ValueError("an interval over tasks needs two tasks at least")
    samples, tasks = sum(map(len, values.values())), len(values)
    mean = math.fsum(itertools.chain.from_iterable(values.values())) / samples
    deviations = (math.fsum(each) - len(each) * mean for each in values.values())
    error = math.sqrt(tasks / (tasks - 1) * math.fsum(d * d for d in deviations)) / samples
    half = _t(confidence, tasks - 1) * error
    return Estimate(mean=mean, low=mean - half, high=mean + half, tasks=tasks, samples=samples)


def estimate(values: ByTask, *, confidence: float = 0.95) -> Estimate:
    """Return a mean with the interval that fits: Wilson's for single samples of 0 and 1, else by task.

    With fewer than two tasks that are not such shares the interval is infinite: nothing is known of others.

    Raises:
        ValueError: there is no task, or one without samples.
    """
    _require_samples(values)
    tasks, samples = len(values), sum(map(len, values.values()))
    if _single_bits(values):
        hits = sum(int(each[0]) for each in values.values())
        low, high = wilson(hits, tasks, confidence=confidence)
        return Estimate(mean=hits / tasks, low=low, high=high, tasks=tasks, samples=samples)
    if tasks > 1:
        return clustered(values, confidence=confidence)
    (only,) = values.values()
    return Estimate(mean=_mean(only), low=-math.inf, high=math.inf, tasks=1, samples=samples)


# -- two loops on the same tasks -------------------------------------------------------------------


def paired(
    ours: ByTask, theirs: ByTask, *, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Difference:
    """Return how much better ours is on the tasks that both have, each task weighing the same.

    The interval is the percentile bootstrap's over tasks: tasks are drawn anew with replacement, both loops'
    results together, so that hard tasks are hard for both. With few tasks (below 20, say) it is too narrow, and
    where all differences are equal it has no width. 10^4 tasks and 10^3 resamples take about three seconds.

    Raises:
        ValueError: no task is in both, or one has no samples.

    **Source**: Efron and Tibshirani (1993), chapters 8 and 13.
    """
    common = sorted(ours.keys() & theirs.keys())
    mine, yours = {t: ours[t] for t in common}, {t: theirs[t] for t in common}
    _require_samples(mine)
    _require_samples(yours)
    gains = [_mean(mine[t]) - _mean(yours[t]) for t in common]
    low, high = _percentiles(bootstrap(gains, resamples=resamples, seed=seed), confidence)
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    bits = _single_bits(mine) and _single_bits(yours)
    return Difference(
        tasks=len(common),
        ours=_mean([_mean(each) for each in mine.values()]),
        theirs=_mean([_mean(each) for each in yours.values()]),
        difference=_mean(gains),
        low=low,
        high=high,
        better=better,
        worse=worse,
        mcnemar_p=mcnemar(better, worse) if bits else None,
    )


def bootstrap(values: Sequence[float], *, resamples: int = 1000, seed: int = 0) -> list[float]:
    """Return the means of that many samples drawn with replacement from `values`, in ascending order.

    Raises:
        ValueError: there are no values, or no resamples are wanted.
    """
    if not values or resamples < 1:
        raise ValueError("a bootstrap needs a value and a resample at least")
    rng, size = random.Random(seed), len(values)  # noqa: S311  # no secret
    return sorted(sum(rng.choices(values, k=size)) / size for _ in range(resamples))


def mcnemar(wins: int, losses: int) -> float:
    """Return the two-sided exact p-value of McNemar's test: a fair coin over the discordant pairs."""
    n, ways, tail = wins + losses, 1, 1
    for k in range(min(wins, losses)):
        ways = ways * (n - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / 2**n)


# -- ranking ---------------------------------------------------------------------------------------


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


# -- parts -----------------------------------------------------------------------------------------


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _single_bits(values: ByTask) -> bool:
    return all(len(each) == 1 and each[0] in (0.0, 1.0) for each in values.values())


def _require_samples(values: ByTask) -> None:
    if not values:
        raise ValueError("there is no task to look at")
    empty = next((task for task, each in values.items() if not each), None)
    if empty is not None:
        raise ValueError(f"task {empty!r} has no samples")


def _percentiles(ordered: Sequence[float], confidence: float) -> Interval:
    _z(confidence)
    tail = (1 - confidence) / 2
    return _quantile(ordered, tail), _quantile(ordered, 1 - tail)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, not {confidence!r}")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _t(confidence: float, freedom: int) -> float:
    """Return the two-sided quantile of Student's t: exact for 1 and 2 degrees, else to 1 %.

    To 5 % at a confidence of 0.999 with 3 or 4 degrees.
    """
    z = _z(confidence)
    tail = (1 + confidence) / 2
    if freedom == 1:
        return math.tan(math.pi * (tail - 0.5))
    if freedom == 2:
        return (2 * tail - 1) * math.sqrt(2 / (4 * tail * (1 - tail)))
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
