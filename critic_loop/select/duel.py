"""A dueling bandit: chooses which two candidates a judge compares next, to find the best with few comparisons.

Knows the candidates' texts and the comparisons in the tree. It is a selection, not a search: it asks for
comparisons of existing attempts, and is called again after each.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import exp, sqrt
from typing import Annotated

from pydantic import Field

from critic_loop.core.protocols import Compare, Pick
from critic_loop.core.records import Attempt
from critic_loop.core.tree import Tree
from critic_loop.evidence import comparison_of, who_decided
from critic_loop.select.compared import players_of

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Vector = Sequence[float]
Contest = tuple[int, int, float]
"""Two arms, and the preference for the first, in [0, 1]."""
_STEPS = 100


def features(text: str, size: int) -> tuple[float, ...]:
    """Return a text as a vector `[size]` of length 1: its words and pairs of words, hashed with signs."""
    words = text.casefold().split()
    vector = [0.0] * size
    for term in (*words, *(f"{a} {b}" for a, b in pairwise(words))):
        place = zlib.crc32(term.encode())
        vector[place // 2 % size] += 1.0 if place % 2 else -1.0
    length = sqrt(_dot(vector, vector))
    return tuple(x / length for x in vector) if length else tuple(vector)


def fitted(arms: Sequence[Vector], contests: Sequence[Contest], damping: float) -> list[float]:
    """Return the weights of a linear utility whose differences explain the contests (Bradley-Terry).

    Logistic loss on differences, L2 decay `damping / (contests + 50)`, gradient descent from zero with
    Nesterov's momentum; steps of 0.8, which converge since differences are no longer than 2.
    """
    size = len(arms[0])
    rows = [([a - b for a, b in zip(arms[i], arms[j], strict=True)], share) for i, j, share in contests]
    weights, before, decay = [0.0] * size, [0.0] * size, damping / (len(rows) + 50)
    for step in range(_STEPS if rows else 0):
        ahead = [w + step / (step + 3) * (w - b) for w, b in zip(weights, before, strict=True)]
        errors = [1.0 / (1.0 + exp(-_dot(ahead, row))) - share for row, share in rows]
        slopes = (sum(e * row[k] for e, (row, _) in zip(errors, rows, strict=True)) for k in range(size))
        before = weights
        moves = zip(ahead, slopes, strict=True)
        weights = [x - 0.8 * (slope / len(rows) + decay * x) for x, slope in moves]
    return weights


@dataclass(frozen=True, kw_only=True)
class Duel:
    """Compares `warm_up` pairs at random, then the best so far with the most promising other one.

    The first arm has the highest utility h; the second the highest h(x) + sqrt(nu * sum((x - first)^2 / U)),
    with U the sum of squared differences of all pairs compared, plus `damping`. After `rounds` comparisons,
    or when no pair is left, the arm of highest utility among those compared wins.

    Source: APOHF (2024), its linear case: 5 random pairs, 150 rounds, nu 1, damping 0.1. We differ: features
    are hashed words (`features`) and not sentence embeddings; a pair is compared once, in both orders.
    """

    rounds: Count = 150
    warm_up: Annotated[int, Field(ge=0)] = 5
    nu: Positive = 1.0
    """Weight of the uncertainty."""
    damping: Positive = 0.1
    size: Count = 64
    """Length of the feature vectors."""

    def __call__(self, tree: Tree) -> Pick | Compare:
        """Return the next comparison, or the winner."""
        ids = players_of(tree)
        if not ids:
            return Pick(attempt=None, decided_by="nobody")
        done = _compared(tree, ids)
        contests = [(i, j, share) for (i, j), share in done.items() if share is not None]
        arms = [features(_text(tree[name]), self.size) for name in ids]
        weights = fitted(arms, contests, self.damping)
        worth = [_dot(weights, arm) for arm in arms]
        pair = None if len(done) >= self.rounds else self._next(tree, arms, worth, set(done))
        if pair is not None:
            return Compare(ids[pair[0]], ids[pair[1]])
        queried = {arm for pair in done for arm in pair} or {0}
        winner = max(sorted(queried), key=worth.__getitem__)
        return Pick(attempt=ids[winner], decided_by="judge" if contests else who_decided(tree, ids[winner]))

    def _next(
        self, tree: Tree, arms: list[tuple[float, ...]], worth: list[float], done: set[tuple[int, int]]
    ) -> tuple[int, int] | None:
        """Return two arms that have not been compared, or None."""
        if len(done) < self.warm_up:
            left = (pair for pair in combinations(range(len(arms)), 2) if pair not in done)
            return min(left, key=lambda pair: _random_order(tree, pair), default=None)
        seen = [self.damping] * self.size
        for i, j in done:
            for k in range(self.size):
                seen[k] += (arms[i][k] - arms[j][k]) ** 2
        for first in sorted(range(len(arms)), key=lambda arm: (-worth[arm], arm)):
            others = [x for x in range(len(arms)) if x != first and _pair(first, x) not in done]
            bounds = {x: worth[x] + self._uncertainty(arms[x], arms[first], seen) for x in others}
            if bounds:
                return first, max(bounds, key=bounds.__getitem__)
        return None

    def _uncertainty(self, arm: Vector, first: Vector, seen: Vector) -> float:
        return sqrt(self.nu * sum((a - b) ** 2 / u for a, b, u in zip(arm, first, seen, strict=True)))


def _compared(tree: Tree, ids: tuple[str, ...]) -> dict[tuple[int, int], float | None]:
    """Return the pairs that were compared in both orders, in the order of their first comparison."""
    place = {name: index for index, name in enumerate(ids)}
    found: dict[tuple[int, int], float | None] = {}
    for feedback in tree.feedback.values():
        about = feedback.subject.attempts if feedback.subject else ()
        if len(about) != 2 or feedback.advisory or not place.keys() >= set(about):
            continue
        first, second = _pair(place[about[0]], place[about[1]])
        if (first, second) not in found:
            met = comparison_of(tree, ids[first], ids[second])
            if met.complete:
                found[first, second] = met.share
    return found


def _pair(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)


def _random_order(tree: Tree, pair: tuple[int, int]) -> bytes:
    place = f"{tree.head.seed}/{tree.task.id}/{pair[0]}/{pair[1]}"
    return hashlib.blake2b(place.encode(), digest_size=8).digest()


def _text(attempt: Attempt) -> str:
    return attempt.answer if isinstance(attempt.answer, str) else json.dumps(attempt.answer, sort_keys=True)


def _dot(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
