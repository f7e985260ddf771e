"""Whether an attempt is right, as far as anybody who can know has said so.

Opinion is never truth: what critics and judges think does not count here, unless they were shown the
reference. Reads all that is on record, also what came after the outcome and what no loop obeyed (hidden
tests). Does not know what an attempt was worth to its loop (`core.value`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydantic import JsonValue

from critic_loop.core.records import Feedback, Verdict
from critic_loop.core.tree import Tree
from critic_loop.core.value import EVIDENCE
from critic_loop.outputs import agree, final_part, normalised

PEOPLE = ("human", "user")
_YES_OR_NO = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is known about an attempt, and from whom."""

    right: bool | None = None
    """None: nobody who can know has said so."""
    rests_on: tuple[Feedback, ...] = ()
    """The words that decided it; empty where the task's reference did."""


def truth_of(tree: Tree, attempt_id: str) -> Truth:
    """Return what is known about an attempt. O(its feedback).

    The first of these that says anything decides: users (the latest word of each; all must be content);
    verifiers, tools and human reviewers (all must pass it); critics and judges who were shown the
    reference; the task's reference, where no verifier was asked.
    """
    said = [
        f
        for f in tree.about(attempt_id)
        if f.subject is not None and len(f.subject.attempts) == 1 and f.subject.location is None
    ]
    for decides in _TIERS:
        known = {f.id: right for f in decides(said) if (right := says(f)) is not None}
        if known:
            right = all(known.values())
            words = (f for f in said if known.get(f.id) is right)
            return Truth(right=right, rests_on=tuple(words))
    if any(f.source in EVIDENCE for f in said):
        return Truth()
    return Truth(right=_equals_reference(tree, attempt_id))


def says(feedback: Feedback) -> bool | None:
    """Return what feedback says: right, wrong, or neither.

    A score without a verdict says right at 1 and wrong at 0; a person's also above and below one half.
    """
    if feedback.verdict is not None:
        return {Verdict.PASS: True, Verdict.FAIL: False}.get(feedback.verdict)
    score = feedback.score
    if score is None:
        return None
    if feedback.source in PEOPLE:
        return None if score == 0.5 else score > 0.5
    return {1.0: True, 0.0: False}.get(score)


def _users(said: Iterable[Feedback]) -> Iterable[Feedback]:
    return {f.author: f for f in said if f.source == "user" and says(f) is not None}.values()


def _checks(said: Iterable[Feedback]) -> Iterable[Feedback]:
    return (f for f in said if f.source in (*EVIDENCE, "human"))


def _referenced(said: Iterable[Feedback]) -> Iterable[Feedback]:
    return (f for f in said if f.saw_reference)


_TIERS: tuple[Callable[[Iterable[Feedback]], Iterable[Feedback]], ...] = (_users, _checks, _referenced)


def _equals_reference(tree: Tree, attempt_id: str) -> bool | None:
    """Compare an answer with the task's reference; None where the two may say the same in other words."""
    attempt, reference = tree[attempt_id], tree.task.reference
    if reference is None or attempt.answer is None or attempt.kind != "answer":
        return None
    if agree(attempt.answer, reference):
        return True
    options = reference if isinstance(reference, list) else [reference]
    return False if all(_contradict(attempt.answer, option) for option in options) else None


def _contradict(given: JsonValue, reference: JsonValue) -> bool:
    """Whether two answers cannot both be right, however they are meant: two numbers or choices, yes and no."""
    if isinstance(given, dict) and isinstance(reference, dict):
        return given.keys() == reference.keys() and any(_contradict(given[k], reference[k]) for k in given)
    if not isinstance(given, str | int | float) or not isinstance(reference, str | int | float):
        return False
    one, other = normalised(final_part(str(given))), normalised(final_part(str(reference)))
    if not isinstance(one, str) and not isinstance(other, str):
        return one != other
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    if one in _YES_OR_NO and other in _YES_OR_NO:
        return _YES_OR_NO[one] is not _YES_OR_NO[other]
    return one != other and all(len(said) == 1 and said.isascii() and said.isalpha() for said in (one, other))
