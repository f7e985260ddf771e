"""Which answer wins: pure functions of the tree.

Every rule looks at complete attempts only and breaks ties by age, so that the same tree always gives
the same pick. A rule that needs a judge returns `Compare` and is called again with the answer in the tree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from critic_loop.core.protocols import Compare, Pick
from critic_loop.core.records import Attempt
from critic_loop.core.tree import Tree
from critic_loop.evidence import Better, Open, best, better_of, standing, value_of, who_decided
from critic_loop.outputs import final_part, normalised


def candidates(tree: Tree) -> tuple[str, ...]:
    """Return the attempts that may win: complete answers that no other replaced, oldest first.

    Unreadable answers are returned only if there are no others.
    """
    replaced = {a.replaces for a in tree if a.replaces and a.status == "complete"}
    answers = (a for a in tree if a.status == "complete" and a.kind != "tests" and not a.unfinished)
    found = [a for a in answers if a.id not in replaced]
    readable = [a for a in found if not a.error_code]
    return tuple(a.id for a in readable or found)


def verified_first(tree: Tree) -> Pick:
    """The oldest attempt that verifiers passed; else the best by value, the latest of equals.

    Without any judgement the last revision wins, as in plain refinement.
    """
    ids = candidates(tree)
    passed = next((i for i in ids if value_of(tree, i).verified is True), None)
    if passed is not None:
        return Pick(attempt=passed, decided_by="verifier")
    top = max(reversed(ids), key=lambda i: value_of(tree, i).key, default=None)
    return Pick(attempt=top, decided_by=who_decided(tree, top))


def best_value(tree: Tree) -> Pick:
    """The attempt of highest value: verdict, evidence score, acceptance, opinion score."""
    top = best(tree, candidates(tree))
    return Pick(attempt=top, decided_by=who_decided(tree, top))


def majority(tree: Tree) -> Pick:
    """The oldest attempt with the most frequent answer."""
    return _vote(tree, candidates(tree))


def filtered_majority(tree: Tree) -> Pick:
    """Majority among those that no critic rejected; among all if that leaves none.

    Source: self-check of CriticBench; critic-filtered majority of RefCritic. An abstention rejects
    nothing: only an explicit rejection filters.
    """
    ids = candidates(tree)
    kept = tuple(i for i in ids if value_of(tree, i).accepted is not False)
    return _vote(tree, kept or ids)


def mean_trajectory(tree: Tree) -> Pick:
    """The attempt with the highest mean score over its path, itself included.

    Unjudged attempts do not count.

    Source: SWE-Search (Antoniades et al. 2024), whose mean is over values backed up by its search; here it is
    over the scores of each attempt, so that it is the same under any search.
    """
    means = _path_means(tree)
    ids = standing(tree, candidates(tree))
    top = max(ids, key=lambda i: _low(means[i]), default=None)
    mean = None if top is None else means[top]
    if mean is None:
        return best_value(tree)
    return Pick(attempt=top, decided_by=who_decided(tree, top), text=f"mean {mean:.2f} over its path")


def _path_means(tree: Tree) -> dict[str, float | None]:
    totals: dict[str, tuple[float, int]] = {}
    for attempt_id, ask in tree.asks.items():  # parents come before their children
        total, known = totals[ask.parents[0]] if ask.parents else (0.0, 0)
        score = value_of(tree, attempt_id).score
        totals[attempt_id] = (total, known) if score is None else (total + score, known + 1)
    return {attempt_id: total / known if known else None for attempt_id, (total, known) in totals.items()}


def _low(score: float | None) -> float:
    return -1.0 if score is None else score


def keep_if_better(tree: Tree) -> Pick | Compare:
    """The first attempt, unless a later one is better: each is compared with the best so far, in order.

    `evidence.better_of` decides: by evidence if it differs; else by a judge in both orders (a disagreement is a
    tie, which keeps the best so far); by opinion if the judge only abstained. Each attempt's value is computed
    once, because this is called again after each comparison. O(candidates and feedback).
    """
    ids = candidates(tree)
    if not ids:
        return Pick(attempt=None, decided_by="nobody")
    holder, judged = ids[0], False
    values = {holder: value_of(tree, holder)}
    for challenger in ids[1:]:
        values[challenger] = value_of(tree, challenger)
        found = better_of(tree, challenger, holder, compared=True, values=values)
        if isinstance(found, Open):
            return Compare(holder, challenger)
        if isinstance(found, Better) and found.better == challenger:
            holder, judged = challenger, False
        judged = judged or found.by == "judge"
    return Pick(attempt=holder, decided_by="judge" if judged else who_decided(tree, holder))


def answer_key(attempt: Attempt) -> str:
    """Return the key by which votes are counted: the final part of a text, normalised; of others the JSON."""
    answer = attempt.answer
    vote = str(normalised(final_part(answer))) if isinstance(answer, str) else answer
    return json.dumps(vote, sort_keys=True)


def _vote(tree: Tree, ids: Iterable[str]) -> Pick:
    votes: dict[str, list[str]] = {}
    for attempt_id in ids:
        votes.setdefault(answer_key(tree[attempt_id]), []).append(attempt_id)
    if not votes:
        return Pick(attempt=None, decided_by="nobody")
    winners = max(votes.values(), key=len)
    total = sum(len(v) for v in votes.values())
    return Pick(attempt=winners[0], decided_by="vote", text=f"{len(winners)} of {total} votes")
