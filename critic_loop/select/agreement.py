"""Scores of groups of solutions by tests that may be wrong themselves, over a solutions x tests matrix.

Solutions that pass the same tests form a group: a guess at which solutions and which tests are right. Each
function takes a matrix `passes[solution][test]`, as nested sequences or a numpy array, and returns the score
of each group. Higher is better; scores of different functions are not comparable. Knows no trees
(`select.by_tests` reads the matrix out of one). O(solutions x tests) each.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import lgamma, sqrt
from typing import Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Indexed(Protocol[T_co]):
    """A row, or rows: anything with a length that is indexed from 0."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> T_co: ...


Matrix = Indexed[Indexed[object]]
"""True in row i and column j: solution i passes test j."""
Groups = dict[frozenset[int], frozenset[int]]
"""Solutions that pass the same tests, and these tests."""


def groups_of(passes: Matrix) -> Groups:
    """Return the solutions that pass the same tests together, with these tests; oldest first.

    Raises:
        ValueError: rows have different lengths.
    """
    rows = [passes[i] for i in range(len(passes))]
    if len({len(row) for row in rows}) > 1:
        raise ValueError("each solution needs a cell for each test: rows have different lengths")
    found: dict[frozenset[int], list[int]] = {}
    for solution, row in enumerate(rows):
        found.setdefault(frozenset(j for j in range(len(row)) if row[j]), []).append(solution)
    return {frozenset(solutions): tests for tests, solutions in found.items()}


def b4_scores(passes: Matrix, *, alpha: float, beta0: float) -> dict[frozenset[int], float]:
    """Return the log-probability, up to a constant, that a group is the set of right solutions.

    A group of `x` solutions stands for the guess that exactly these are right, and exactly the `y` tests that
    they pass. With `B` the beta function, over `N` solutions and `M` tests,

        ln B(x + alpha, N - x + 1) + ln B(y + alpha, M - y + 1)
        + ln B(s1 + 1, m1 - s1 + 1) + ln B(s0 + 1, m0 - s0 + beta0)

    where the other solutions pass `s1` of their `m1` cells on those tests, and `s0` of `m0` on the rest. With
    small settings the size of a group outweighs its tests: at 1 and 1, three solutions that pass nothing beat a
    single one that passes two tests of three.

    Args:
        passes: the matrix.
        alpha: above 0; how strongly the prior favours large groups and many passed tests. The authors' code has
            10 for simulated and 1000 for real data.
        beta0: above 0; the greater, the less likely a wrong solution passes a wrong test. The authors' code has
            10, and 1e4 to 1e6.

    Raises:
        ValueError: a setting is not above 0, or rows have different lengths.

    **Source**: B4 (Chen et al. 2024), eq. of the posterior with theta1 ~ Beta(1, 1), theta0 ~ Beta(1, beta0).
    """
    if not (alpha > 0 and beta0 > 0):
        raise ValueError(f"alpha and beta0 are above 0, not {alpha!r} and {beta0!r}")
    groups = groups_of(passes)
    solutions, tests = len(passes), len(passes[0]) if len(passes) else 0
    passing = _passing(groups)
    everything = sum(passing.values())
    scores: dict[frozenset[int], float] = {}
    for group, passed in groups.items():
        x, y, others = len(group), len(passed), solutions - len(group)
        on_passed = sum(passing[j] for j in passed) - x * y
        on_rest = everything - x * y - on_passed
        scores[group] = (
            _ln_beta(x + alpha, solutions - x + 1)
            + _ln_beta(y + alpha, tests - y + 1)
            + _ln_beta(on_passed + 1, others * y - on_passed + 1)
            + _ln_beta(on_rest + 1, others * (tests - y) - on_rest + beta0)
        )
    return scores


def code_t_scores(passes: Matrix) -> dict[frozenset[int], float]:
    """Return tests passed, times the square root of the group's size.

    **Source**: CodeT (Chen et al. 2022): dual execution agreement, as B4's authors compute it.
    """
    return {group: len(passed) * sqrt(len(group)) for group, passed in groups_of(passes).items()}


def max_pass_scores(passes: Matrix) -> dict[frozenset[int], float]:
    """Return the number of tests passed. **Source**: MaxPass, a baseline of B4 (Chen et al. 2024)."""
    return {group: float(len(passed)) for group, passed in groups_of(passes).items()}


def mbr_scores(passes: Matrix) -> dict[frozenset[int], float]:
    """Return the group's size: how many solutions behave alike on the tests.

    **Source**: MBR-exec (Shi et al. 2022) with its 0-1 loss, as B4's authors compute it.
    """
    return {group: float(len(group)) for group in groups_of(passes)}


def _passing(groups: Groups) -> Mapping[int, int]:
    """Return how many solutions pass each test that any passes."""
    counted: dict[int, int] = {}
    for group, passed in groups.items():
        for test in passed:
            counted[test] = counted.get(test, 0) + len(group)
    return counted


def _ln_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
