"""Selection by tests that may be wrong themselves.

The matrix of solutions and tests is read from evidence of two kinds: a verifier's verdict about a pair (a
solution, an attempt of kind `tests`), and results of single tests, `Feedback.tests`, about a solution or a
pair.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from critic_loop.core.protocols import Pick
from critic_loop.core.records import Feedback, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import EVIDENCE, standing, value_of
from critic_loop.select.agreement import Matrix, b4_scores, code_t_scores, max_pass_scores, mbr_scores
from critic_loop.select.rules import best_value, candidates

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Test = tuple[str, str]
"""Its author (an attempt of kind `tests`, or a verifier), and its name; empty for an attempt as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestMatrix:
    """Which solution passes which test."""

    __test__ = False

    solutions: tuple[str, ...]
    """Attempts on which tests were run, oldest first."""
    tests: tuple[Test, ...]
    """Tests that were run on all of them, in the order of the oldest solution's results."""
    passes: tuple[tuple[bool, ...], ...]
    """A row for each solution."""


def matrix_of(tree: Tree, ids: tuple[str, ...]) -> TestMatrix:
    """Return the matrix over these attempts. O(the feedback on them).

    Left out are solutions on which no test was run, and tests that were not run on all other solutions: not
    run is neither passed nor failed. A verifier that ends early reports the rest as failed. Tests that
    another attempt replaced do not count.
    """
    replaced = {a.replaces for a in tree if a.replaces and a.status == "complete"}
    rows = {i: row for i in ids if (row := _results(tree, i, replaced))}
    first = next(iter(rows.values()), {})
    tests = tuple(test for test in first if all(test in row for row in rows.values()))
    passes = tuple(tuple(row[test] for test in tests) for row in rows.values())
    return TestMatrix(solutions=tuple(rows), tests=tests, passes=passes)


def _results(tree: Tree, solution: str, replaced: Collection[str]) -> dict[Test, bool]:
    """Return the latest result of each test on a solution."""
    found: dict[Test, bool] = {}
    for feedback in tree.about(solution):
        subject = feedback.subject
        if feedback.source not in EVIDENCE or feedback.advisory or subject is None or subject.location:
            continue
        others = [i for i in subject.attempts if i != solution]
        if not others:
            found.update(_single(feedback, feedback.author))
        elif len(others) == 1 and tree.asks[others[0]].kind == "tests" and others[0] not in replaced:
            found.update(_single(feedback, others[0]) or _whole(feedback, others[0]))
    return found


def _single(feedback: Feedback, whose: str) -> dict[Test, bool]:
    return {(whose, name): passed for name, passed in feedback.tests.items()}


def _whole(feedback: Feedback, tests: str) -> dict[Test, bool]:
    judged = feedback.verdict in (Verdict.PASS, Verdict.FAIL)
    return {(tests, ""): feedback.verdict is Verdict.PASS} if judged else {}


# -- rules -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class B4:
    """The group of solutions that, with the tests it passes, is likeliest to be the right one (`b4_scores`).

    **Source**: B4 (Chen et al. 2024). The defaults are those of the authors' code for real data.
    """

    alpha: Positive = 1000.0
    """How strongly the prior favours large groups and many passed tests; 10 for few, clean samples."""
    beta0: Positive = 10000.0
    """The greater, the less likely a wrong solution passes a wrong test."""

    def __call__(self, tree: Tree) -> Pick:
        """Choose."""
        return _by_tests(tree, lambda passes: b4_scores(passes, alpha=self.alpha, beta0=self.beta0))


def code_t(tree: Tree) -> Pick:
    """The group of solutions with the most passed tests, times the root of its size.

    Source: CodeT (Chen et al. 2022).
    """
    return _by_tests(tree, code_t_scores)


def max_pass(tree: Tree) -> Pick:
    """The oldest of the solutions that pass the most tests."""
    return _by_tests(tree, max_pass_scores)


def mbr(tree: Tree) -> Pick:
    """The largest group of solutions that pass the same tests.

    Source: MBR-exec (Shi et al. 2022).
    """
    return _by_tests(tree, mbr_scores)


def _by_tests(tree: Tree, scores: Callable[[Matrix], dict[frozenset[int], float]]) -> Pick:
    """Return the oldest solution of the best group.

    Solutions that a verifier failed as a whole are left out, if others remain. Without tests, the highest
    value wins.
    """
    matrix = matrix_of(tree, standing(tree, candidates(tree)))
    if not matrix.tests:
        return best_value(tree)
    ranked = scores(matrix.passes)
    group = max(sorted(ranked, key=min), key=ranked.__getitem__)
    chosen = matrix.solutions[min(group)]
    passed = sum(matrix.passes[min(group)])
    alike = f"{len(group)} of {len(matrix.solutions)} solutions"
    text = f"{alike} pass the same {passed} of {len(matrix.tests)} tests"
    verified = value_of(tree, chosen).verified is True
    return Pick(attempt=chosen, decided_by="verifier" if verified else "vote", text=text)
