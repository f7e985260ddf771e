"""Which of two attempts is better, by how much, and who says so.

Knows evidence, judges' preferences and opinion, in this order; is stricter than `core.value`: where one
of two was not judged, it says nothing. Does not know pairs of texts (`export.preference`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from critic_loop.core.records import Feedback, Verdict
from critic_loop.core.tree import Tree
from critic_loop.core.value import Value, value_of

By = Literal["evidence", "judge", "opinion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Better:
    """An attempt beats another."""

    better: str
    worse: str
    by: By
    margin: float
    """In (0, 1]: 1 where verdicts differ, else the difference of scores or of shares of preference."""
    feedback: tuple[Feedback, ...] = ()
    """The comparisons that decided, where a judge did."""


def better_of(tree: Tree, one: str, other: str, *, both_orders: bool = True) -> Better | None:
    """Return which attempt is better: by evidence, else by comparison, else by opinion; None if that is open.

    Evidence that says one is better is never overruled, and evidence about only one of the two decides
    nothing and lets nothing else decide.

    Args:
        tree: the tree of both.
        one: an attempt's id.
        other: another's.
        both_orders: whether a judge's word counts only where it was asked in both orders.
    """
    a, b = value_of(tree, one), value_of(tree, other)
    if (a.verified is None) != (b.verified is None):
        return None
    by_evidence = _difference((a.verified, b.verified), (a.evidence, b.evidence))
    if by_evidence:
        return _result(one, other, "evidence", by_evidence)
    compared = comparisons(tree, one, other, both_orders=both_orders)
    if compared:
        share = sum(_share(f, one) for f in compared) / len(compared)
        return _result(one, other, "judge", round(2 * share - 1, 12), compared)
    return _result(one, other, "opinion", _by_opinion(a, b))


def _by_opinion(a: Value, b: Value) -> float:
    if (a.accepted is None) != (b.accepted is None):
        return 0.0
    return _difference((a.accepted, b.accepted), (a.opinion, b.opinion))


def _difference(verdicts: tuple[bool | None, bool | None], scores: tuple[float | None, float | None]) -> float:
    """Return how much the first is better: by verdict, else by score; 0 if equal or not known of both."""
    if verdicts[0] is not None and verdicts[1] is not None and verdicts[0] != verdicts[1]:
        return 1.0 if verdicts[0] else -1.0
    return scores[0] - scores[1] if scores[0] is not None and scores[1] is not None else 0.0


def _result(one: str, other: str, by: By, gain: float, feedback: tuple[Feedback, ...] = ()) -> Better | None:
    if not gain:
        return None
    better, worse = (one, other) if gain > 0 else (other, one)
    return Better(better=better, worse=worse, by=by, margin=abs(gain), feedback=feedback)


def comparisons(tree: Tree, one: str, other: str, *, both_orders: bool = True) -> tuple[Feedback, ...]:
    """Return the valid preferences between two attempts; with `both_orders`, a judge's only in pairs."""
    found = [
        f
        for f in tree.about(one)
        if f.preference is not None
        and not f.advisory
        and f.verdict is not Verdict.ABSTAIN
        and f.subject is not None
        and sorted(f.subject.attempts) == sorted((one, other))
    ]
    return tuple(f for f in found if not both_orders or f.source in ("human", "user") or _reversed(f, found))


def _reversed(feedback: Feedback, among: list[Feedback]) -> bool:
    """Whether the same author was asked in the other order, too."""
    order = feedback.subject.attempts if feedback.subject else ()
    return any(f.author == feedback.author and f.subject and f.subject.attempts == order[::-1] for f in among)


def _share(feedback: Feedback, attempt: str) -> float:
    """Return an attempt's share of a preference between two, the shares scaled to sum to 1."""
    order = feedback.subject.attempts if feedback.subject else ()
    shares = dict(zip(order, feedback.preference or (), strict=True))
    total = sum(shares.values())
    return shares[attempt] / total if total else 0.5
