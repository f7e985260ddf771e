"""Whether an attempt is right, as far as is known, and which source knows it.

Metrics, exports, rewards and views all use these functions. Opinion is never truth: critics and judges do not
count, unless they were shown the reference. Reads all feedback: grades, late feedback, and advisory feedback
(hidden tests). So nothing that steers a loop may use this module. Does not know the value of an attempt to its
loop (`evidence.better`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import JsonValue
from pydantic_core import to_json

from critic_loop.core.records import Attempt, Feedback, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence.better import EVIDENCE, PEOPLE, best, value_of
from critic_loop.outputs import agree, final_part, normalised

_YES_OR_NO = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Whether an attempt is right, and which source knows it."""

    right: bool | None = None
    """None = not known."""
    tier: str = ""
    """The tier of `TIERS` that decided; empty if none did."""
    rests_on: tuple[Feedback, ...] = ()
    """The feedback that decided; empty where the task's reference did."""


UNKNOWN = Truth()
"""It is not known whether the attempt is right."""


# -- one attempt -----------------------------------------------------------------------------------


def truth_of(tree: Tree, attempt_id: str, *, without: str | None = None) -> Truth:
    """Return whether an attempt is right, by the first of `TIERS` that knows. O(its feedback).

    Abstentions do not count.

    Args:
        tree: the tree of the attempt.
        attempt_id: the attempt.
        without: the id of a feedback to ignore, because it is to be compared with the result.
    """
    whole = [f for f in tree.all_about(attempt_id) if is_whole(f) and f.id != without]
    for name, tier in TIERS.items():
        found = tier(tree, attempt_id, whole)
        if found.right is not None:
            return Truth(right=found.right, tier=name, rests_on=found.rests_on)
    return UNKNOWN


def says(feedback: Feedback) -> bool | None:
    """Return whether feedback says that its attempt is right (True), wrong (False), or neither (None).

    Without a verdict, a score of 1 means right and 0 wrong; a person's score also above and below 0.5.
    """
    if feedback.verdict is not None:
        return {Verdict.PASS: True, Verdict.FAIL: False}.get(feedback.verdict)
    score = feedback.score
    if score is None:
        return None
    if feedback.source in PEOPLE:
        return None if score == 0.5 else score > 0.5
    return {1.0: True, 0.0: False}.get(score)


def is_whole(feedback: Feedback) -> bool:
    """Return whether feedback is about one attempt as a whole."""
    subject = feedback.subject
    return subject is not None and len(subject.attempts) == 1 and subject.location is None


def told_right(feedback: Iterable[Feedback]) -> bool:
    """Return whether some of the feedback says that its attempt is right, and none that it is wrong.

    Only verifiers, people and authors that were shown the reference count.

    Args:
        feedback: the feedback that a loop received on one attempt; a loop receives no grades.
    """
    counted = (f for f in feedback if is_whole(f) and (f.source in (*EVIDENCE, *PEOPLE) or f.saw_reference))
    known = [says(f) for f in counted]
    return True in known and False not in known


def verdict_of(tree: Tree, attempt_id: str) -> Verdict:
    """Return PASS or FAIL by `truth_of`, else by whether critics accept the attempt; ABSTAIN without either."""
    known = truth_of(tree, attempt_id).right
    if known is None:
        known = value_of(tree, attempt_id).accepted
    return Verdict.ABSTAIN if known is None else Verdict.PASS if known else Verdict.FAIL


# -- all attempts ----------------------------------------------------------------------------------


def truths_of(tree: Tree, attempts: Iterable[Attempt]) -> dict[str, Truth]:
    """Return whether each of these attempts is right, by id.

    An answer of which it is not known is as right as equal answers in the tree, unless these contradict each
    other.
    """
    each = list(attempts)
    found = {a.id: truth_of(tree, a.id) for a in each}
    by_answer: dict[bytes, list[Truth]] = defaultdict(list)
    for a in each:
        if found[a.id].right is not None and a.kind == "answer" and a.answer is not None:
            by_answer[to_json(a.answer)].append(found[a.id])
    for a in each:
        known = by_answer.get(to_json(a.answer), []) if found[a.id].right is None and by_answer else []
        if a.kind == "answer" and len({t.right for t in known}) == 1:
            found[a.id] = known[0]
    return found


def oracle_choice(tree: Tree) -> str | None:
    """Return the id of an answer that is known to be right; None if there is none.

    Of several, the one with the highest value; of equals, the oldest. O(the attempts and their feedback).
    """
    whole = (a for a in tree if a.status == "complete" and not a.unfinished and a.kind != "tests")
    known = truths_of(tree, (a for a in whole if not a.error_code))
    return best(tree, tuple(i for i, truth in known.items() if truth.right))


# -- tiers of sources ------------------------------------------------------------------------------

Tier = Callable[[Tree, str, list[Feedback]], Truth]
"""Returns whether an attempt is right by one kind of source, from the valid feedback on it as a whole."""


def _all_of(select: Callable[[list[Feedback]], Iterable[Feedback]]) -> Tier:
    """Return a tier by which an attempt is right if all selected feedback that knows says so."""

    def tier(_tree: Tree, _attempt_id: str, feedback: list[Feedback]) -> Truth:
        known = {f.id: right for f in select(feedback) if (right := says(f)) is not None}
        if not known:
            return UNKNOWN
        right = all(known.values())
        return Truth(right=right, rests_on=tuple(f for f in feedback if known.get(f.id) is right))

    return tier


def _graders(feedback: list[Feedback]) -> Iterable[Feedback]:
    return (f for f in feedback if f.source == "grader")


def _users(feedback: list[Feedback]) -> Iterable[Feedback]:
    """Return the latest feedback of each user."""
    return {f.author: f for f in feedback if f.source == "user" and says(f) is not None}.values()


def _checks(feedback: list[Feedback]) -> Iterable[Feedback]:
    return (f for f in feedback if f.source in (*EVIDENCE, "human"))


def _referenced(feedback: list[Feedback]) -> Iterable[Feedback]:
    return (f for f in feedback if f.saw_reference)


def _reference(tree: Tree, attempt_id: str, feedback: list[Feedback]) -> Truth:
    """Compare with the task's reference, unless there is a verifier: it knows better how to compare."""
    if any(f.source in EVIDENCE for f in feedback):
        return UNKNOWN
    return Truth(right=_equals_reference(tree, attempt_id))


TIERS: Mapping[str, Tier] = MappingProxyType(
    {
        "grader": _all_of(_graders),
        "user": _all_of(_users),
        "verifier": _all_of(_checks),
        "shown": _all_of(_referenced),
        "reference": _reference,
    }
)
"""The sources of truth; the first that knows decides: graders; users (the latest feedback of each); verifiers
and human reviewers; authors that were shown the reference; the task's reference itself."""


# -- the task's reference --------------------------------------------------------------------------


def _equals_reference(tree: Tree, attempt_id: str) -> bool | None:
    """Return whether an answer equals the task's reference; None if both may mean the same in other words."""
    attempt, reference = tree[attempt_id], tree.task.reference
    if reference is None or attempt.answer is None or attempt.kind != "answer":
        return None
    if agree(attempt.answer, reference):
        return True
    options = reference if isinstance(reference, list) else [reference]
    return False if all(_contradict(attempt.answer, option) for option in options) else None


def _contradict(given: JsonValue, reference: JsonValue) -> bool:
    """Return whether two answers cannot mean the same: different numbers or choices, or yes and no."""
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
    return one != other and all(len(text) == 1 and text.isascii() and text.isalpha() for text in (one, other))
