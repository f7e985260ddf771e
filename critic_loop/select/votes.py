"""Weighted votes. `select.rules` has the unweighted ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from critic_loop.core.protocols import Pick
from critic_loop.core.records import Feedback, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import OPINION, standing, value_of
from critic_loop.select.rules import answer_key, candidates

By = Literal["score", "confidence"]


@dataclass(frozen=True, kw_only=True)
class WeightedVote:
    """The oldest attempt with the answer of highest total weight, among those that verifiers rank highest.

    An attempt without a weight counts with the mean of the others: not judged is not 0. Where none has a
    weight, all count the same. Answers are equal as for `majority`.

    **Source**: score-weighted voting (DiVeRSe, Li et al. 2023); confidence-weighted voting (CISC, Taubenfeld et
    al. 2025), where the confidence is the answerer's own: here it is the critics'.
    """

    by: By = "score"
    """`score`: the attempt's score (`value_of`). `confidence`: its critics' confidence in [0, 1] that it is
    right, where 0.9 in a rejection weighs 0.1: the mean over critics that state both verdict and confidence."""

    def __call__(self, tree: Tree) -> Pick:
        """Choose."""
        weight = {"score": _score, "confidence": _confidence}[self.by]
        ids = standing(tree, candidates(tree))
        weights = _filled({i: weight(tree, i) for i in ids})
        votes: dict[str, list[str]] = {}
        for attempt_id in ids:
            votes.setdefault(answer_key(tree[attempt_id]), []).append(attempt_id)
        totals = {answer: sum(weights[i] for i in alike) for answer, alike in votes.items()}
        if not totals:
            return Pick(attempt=None, decided_by="nobody")
        winner = max(totals, key=totals.__getitem__)
        weighed = f"{totals[winner]:.2f} of {sum(weights.values()):.2f} by {self.by}"
        text = f"{weighed}, {len(votes[winner])} of {len(ids)} votes"
        return Pick(attempt=votes[winner][0], decided_by="vote", text=text)


def _score(tree: Tree, attempt_id: str) -> float | None:
    return value_of(tree, attempt_id).score


def _confidence(tree: Tree, attempt_id: str) -> float | None:
    said = [_confidence_in_right(f) for f in tree.judgements(attempt_id) if f.source in OPINION]
    known = [sure for sure in said if sure is not None]
    return sum(known) / len(known) if known else None


def _confidence_in_right(feedback: Feedback) -> float | None:
    """Return a critic's confidence that an answer is right; None if it states none."""
    sure = feedback.confidence
    if sure is None or feedback.verdict not in (Verdict.PASS, Verdict.FAIL):
        return None
    return sure if feedback.verdict is Verdict.PASS else 1.0 - sure


def _filled(weights: Mapping[str, float | None]) -> dict[str, float]:
    known = [weight for weight in weights.values() if weight is not None]
    usual = sum(known) / len(known) if known else 1.0
    return {i: usual if weight is None else weight for i, weight in weights.items()}
