"""Whether an attempt is right, as far as is known, and from whom.

The one place where this is decided: metrics, exports, rewards and views ask here. Opinion is never truth: what
critics and judges think does not count, unless they were shown the reference. Reads all that is on record:
grades, what came after the outcome, and advisory feedback (hidden tests). So nothing that steers a loop may
ask here. Does not know what an attempt is worth to its loop (`evidence.better`).
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
    """What is known about an attempt, and from whom."""

    right: bool | None = None
    """None: nobody who can know has said so."""
    tier: str = ""
    """Which of `TIERS` decided; empty where none did."""
    rests_on: tuple[Feedback, ...] = ()
    """The words that decided it; empty where the task's reference did."""


UNKNOWN = Truth()
"""Nothing is known."""


# -- one attempt -----------------------------------------------------------------------------------


def truth_of(tree: Tree, attempt_id: str, *, without: str | None = None) -> Truth:
    """Return what is known about an attempt: the first of `TIERS` that says anything decides. O(its feedback).

    An abstention says nothing.

    Args:
        tree: the tree of the attempt.
        attempt_id: the attempt.
        without: the id of a feedback that does not count here, because it is what is held against the truth.
    """
    said = [f for f in tree.all_about(attempt_id) if is_whole(f) and f.id != without]
    for name, tier in TIERS.items():
        found = tier(tree, attempt_id, said)
        if found.right is not None:
            return Truth(right=found.right, tier=name, rests_on=found.rests_on)
    return UNKNOWN


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


def is_whole(feedback: Feedback) -> bool:
    """Whether feedback is about one attempt as a whole."""
    subject = feedback.subject
    return subject is not None and len(subject.attempts) == 1 and subject.location is None


def told_right(heard: Iterable[Feedback]) -> bool:
    """Whether feedback that a loop had heard says that an attempt is right, and nothing of it that it is wrong.

    Only who can know counts: verifiers, people, and those who were shown the reference. A loop hears no grades.
    """
    able = (f for f in heard if is_whole(f) and (f.source in (*EVIDENCE, *PEOPLE) or f.saw_reference))
    known = [says(f) for f in able]
    return True in known and False not in known


def verdict_of(tree: Tree, attempt_id: str) -> Verdict:
    """Return PASS or FAIL by what is known to be right, else by whether critics accept it, else ABSTAIN."""
    known = truth_of(tree, attempt_id).right
    if known is None:
        known = value_of(tree, attempt_id).accepted
    return Verdict.ABSTAIN if known is None else Verdict.PASS if known else Verdict.FAIL


# -- all attempts ----------------------------------------------------------------------------------


def truths_of(tree: Tree, attempts: Iterable[Attempt]) -> dict[str, Truth]:
    """Return what is known of each of these attempts, by id.

    Where nothing is known of an answer itself, it is as right as an equal answer to the same task, unless equal
    answers are known to be both right and wrong.
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
    """Return what a selection that knows the truth would choose; None where no answer is known to be right.

    Of several right answers, the best by value; of equals, the oldest. O(the attempts and their feedback).
    """
    whole = (a for a in tree if a.status == "complete" and not a.unfinished and a.kind != "tests")
    known = truths_of(tree, (a for a in whole if not a.error_code))
    return best(tree, tuple(i for i, truth in known.items() if truth.right))


# -- who is believed -------------------------------------------------------------------------------

Tier = Callable[[Tree, str, list[Feedback]], Truth]
"""What a kind of source knows of an attempt, by the valid feedback on it as a whole; right None = nothing."""


def _all_of(wanted: Callable[[list[Feedback]], Iterable[Feedback]]) -> Tier:
    """Return a tier whose words must all pass the attempt, those that say neither left out."""

    def tier(_tree: Tree, _attempt_id: str, said: list[Feedback]) -> Truth:
        known = {f.id: right for f in wanted(said) if (right := says(f)) is not None}
        if not known:
            return UNKNOWN
        right = all(known.values())
        return Truth(right=right, rests_on=tuple(f for f in said if known.get(f.id) is right))

    return tier


def _graders(said: list[Feedback]) -> Iterable[Feedback]:
    return (f for f in said if f.source == "grader")


def _users(said: list[Feedback]) -> Iterable[Feedback]:
    """Return the latest word of each user."""
    return {f.author: f for f in said if f.source == "user" and says(f) is not None}.values()


def _checks(said: list[Feedback]) -> Iterable[Feedback]:
    return (f for f in said if f.source in (*EVIDENCE, "human"))


def _referenced(said: list[Feedback]) -> Iterable[Feedback]:
    return (f for f in said if f.saw_reference)


def _reference(tree: Tree, attempt_id: str, said: list[Feedback]) -> Truth:
    """Compare with the task's reference, unless a verifier was asked: it knows what it cannot compare."""
    if any(f.source in EVIDENCE for f in said):
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
"""Who is believed, in this order: graders; users (the latest word of each); verifiers and human reviewers;
critics and judges who were shown the reference; the task's reference itself."""


# -- the task's reference --------------------------------------------------------------------------


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
