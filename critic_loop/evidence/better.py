"""The value of an attempt, and which of two attempts is better, by how much, and what decided it.

Search, selection, stop rules and exports all use these functions. Evidence (verifiers) decides before the
preference of judges, and that before opinion (critics and people on one attempt). Output of tools is neither.
Reads no grades (`Tree.grades`). Does not know which attempt is right (`evidence.right`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from critic_loop.core.records import Feedback, Verdict
from critic_loop.core.tree import Tree
from critic_loop.core.value import NOT_JUDGED, Value

EVIDENCE = ("verifier",)
"""Sources of evidence."""
OPINION = ("critic", "judge", "human", "user")
"""Sources of opinion. A tool's output is neither: it counts only through a critic or verifier that reads it."""
PEOPLE = ("human", "user")
"""Sources that are people: their preference between two attempts counts even if they saw one order only."""

By = Literal["evidence", "judge", "opinion"]
_Pair = tuple[str, str]


# -- one attempt -----------------------------------------------------------------------------------


def value_of(tree: Tree, attempt_id: str) -> Value:
    """Return the value of an attempt by the valid feedback on it as a whole. O(its feedback)."""
    judgements = tree.judgements(attempt_id)
    if not judgements:
        return NOT_JUDGED
    verified, evidence = _tally(judgements, EVIDENCE)
    accepted, opinion = _tally(judgements, OPINION)
    return Value(verified=verified, evidence=evidence, accepted=accepted, opinion=opinion)


def _tally(judgements: tuple[Feedback, ...], sources: tuple[str, ...]) -> tuple[bool | None, float | None]:
    """Return whether all verdicts of some sources are PASS, and the mean of their scores; None without any."""
    passed: bool | None = None
    scores: list[float] = []
    for judgement in judgements:
        if judgement.source not in sources:
            continue
        verdict, score = judgement.verdict, judgement.score
        if verdict is Verdict.ABSTAIN:
            continue
        if verdict is not None:
            passed = verdict is Verdict.PASS and passed is not False
        if score is not None:
            scores.append(score)
    return passed, sum(scores) / len(scores) if scores else None


def who_decided(tree: Tree, attempt_id: str | None) -> str:
    """Return the source of an attempt's value: `verifier`, `critic` (any opinion), or `nobody`."""
    if attempt_id is None:
        return "nobody"
    value = value_of(tree, attempt_id)
    if value.verified is not None or value.evidence is not None:
        return "verifier"
    return "critic" if value.accepted is not None or value.opinion is not None else "nobody"


# -- several attempts ------------------------------------------------------------------------------


def best(tree: Tree, among: tuple[str, ...] | None = None) -> str | None:
    """Return the id of the complete answer with the highest value, of equals the earliest; None without any.

    Args:
        tree: the tree.
        among: the ids of the candidates; None = all attempts.
    """
    ids = tree.attempts if among is None else among
    found = (tree[i] for i in ids)
    complete = [a.id for a in found if a.status == "complete" and not a.unfinished and a.kind != "tests"]
    return max(complete, key=lambda i: value_of(tree, i).key, default=None)


def standing(tree: Tree, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of `ids` that verifiers passed; if there are none, those that none failed; else all.

    Votes and opinions choose among these only, so they cannot prefer a failed candidate to a passed one.
    """
    verified = {i: value_of(tree, i).verified for i in ids}
    for rank in (True, None):
        if kept := tuple(i for i in ids if verified[i] is rank):
            return kept
    return ids


# -- two attempts ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Better:
    """One attempt is better than another."""

    better: str
    worse: str
    by: By
    margin: float
    """In (0, 1]: the difference of scores or of preference shares; 1 where verdicts differ, or where only one
    of the two has a judgement of the kind that decided."""
    feedback: tuple[Feedback, ...] = ()
    """The comparisons that decided, where `by` is `judge`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """Neither attempt is better."""

    by: By | None = None
    """`judge` where judges compared the two and prefer neither; None where all judgements are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """It is not known yet which attempt is better."""

    lacks: Literal["judgement", "comparison"]
    """`judgement`: only one of the two has a judgement of the kind that would decide. `comparison`: no judge
    has compared them in both orders."""


def better_of(
    tree: Tree,
    one: str,
    other: str,
    *,
    both_judged: bool = False,
    compared: bool = False,
    both_orders: bool = True,
    values: Mapping[str, Value] | None = None,
) -> Better | Tie | Open:
    """Return which of two attempts is better, and what decided it.

    The first of these that differs decides: evidence (verdict, then score), the preference of judges, opinion
    (verdict, then score). If judges compared the two and prefer neither, it is a tie. Exchanging `one` and
    `other` does not change the result. O(the feedback on both).

    Args:
        tree: the tree of both.
        one: an attempt's id. Comparisons are looked up among the feedback about it: the attempt that was
            compared less often is faster.
        other: the other attempt's id.
        both_judged: return `Open` where only one of the two was judged. Otherwise a missing judgement ranks as
            in `Value`: between FAIL and PASS, and below any score.
        compared: return `Open` before opinion decides, unless judges have compared the two in both orders.
        both_orders: count a judge's preference only where it was asked in both orders.
        values: the values of the two by id, where the caller has them already.
    """
    a, b = (values or {}).get(one), (values or {}).get(other)
    a, b = a or value_of(tree, one), b or value_of(tree, other)
    gain = _gain((a.verified, a.evidence), (b.verified, b.evidence), both_judged=both_judged)
    if gain is None:
        return Open(lacks="judgement")
    if gain:
        return _better(one, other, "evidence", gain)
    judged = comparison_of(tree, one, other, both_orders=both_orders)
    if judged.share is not None:
        gain = round(2 * judged.share - 1, 12)
        return _better(one, other, "judge", gain, judged.feedback) if gain else Tie(by="judge")
    if compared and not judged.complete:
        return Open(lacks="comparison")
    gain = _gain((a.accepted, a.opinion), (b.accepted, b.opinion), both_judged=both_judged)
    if gain is None:
        return Open(lacks="judgement")
    return _better(one, other, "opinion", gain) if gain else Tie()


def beats(tree: Tree, challenger: str, holder: str) -> bool:
    """Return whether `challenger` is better than `holder` (`better_of`); False for a tie."""
    found = better_of(tree, challenger, holder)
    return isinstance(found, Better) and found.better == challenger


_Judgement = tuple[bool | None, float | None]
"""A verdict and a score; None where there is none."""


def _gain(one: _Judgement, other: _Judgement, *, both_judged: bool) -> float | None:
    """Return by how much `one` is better, in [-1, 1]: by verdict, else by score; None = only one was judged."""
    for mine, theirs in zip(one, other, strict=True):
        if mine == theirs:
            continue
        if mine is not None and theirs is not None:
            return float(mine) - float(theirs)
        if both_judged:
            return None
        known, sign = (mine, 1.0) if theirs is None else (theirs, -1.0)
        return -sign if known is False else sign
    return 0.0


def _better(one: str, other: str, by: By, gain: float, feedback: tuple[Feedback, ...] = ()) -> Better:
    better, worse = (one, other) if gain > 0 else (other, one)
    return Better(better=better, worse=worse, by=by, margin=abs(gain), feedback=feedback)


# -- comparisons by judges -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result of all comparisons of two attempts."""

    share: float | None
    """How much the first is preferred, in [0, 1]: the mean over authors; 0.5 = tie. None if no comparison
    counts."""
    complete: bool
    """Whether the two were shown in both orders; abstentions included."""
    feedback: tuple[Feedback, ...] = ()
    """The comparisons that count, oldest first."""


def comparison_of(tree: Tree, first: str, second: str, *, both_orders: bool = True) -> Comparison:
    """Return the result of all comparisons of two attempts. O(the feedback about `first`).

    A judge is asked in both orders. If its preferences contradict each other, or it abstains in one order, it
    prefers neither (0.5). A judge that was asked in one order only, or only abstained, does not count. People
    count in one order, too. Feedback of critics on a pair is an argument in a debate and does not count.

    Args:
        tree: the tree of both.
        first: an attempt's id.
        second: the other attempt's id.
        both_orders: if False, a judge's preference counts even if it was asked in one order only.
    """
    shown = ((first, second), (second, first))
    by_author: dict[tuple[str, str], dict[_Pair, Feedback]] = {}
    for feedback in tree.about(first):
        pair = feedback.subject.attempts if feedback.subject else ()
        if len(pair) == 2 and pair in shown and not feedback.advisory and feedback.source != "critic":
            by_author.setdefault((feedback.source, feedback.author), {})[pair] = feedback
    shares: list[float] = []
    counts: list[Feedback] = []
    for (source, _), by_order in by_author.items():
        share = _preferred(by_order, first, both_orders=both_orders and source not in PEOPLE)
        if share is not None:
            shares.append(share)
            counts += by_order.values()
    orders = {pair for by_order in by_author.values() for pair in by_order}
    mean = sum(shares) / len(shares) if shares else None
    return Comparison(share=mean, complete=len(orders) == 2, feedback=tuple(counts))


def preference(tree: Tree, first: str, second: str) -> float | None:
    """Return how much judges prefer `first` to `second`, in [0, 1]; None if no comparison counts."""
    return comparison_of(tree, first, second).share


def _preferred(by_order: Mapping[_Pair, Feedback], first: str, *, both_orders: bool) -> float | None:
    """Return one author's share for `first`, from its feedback by the order in which the pair was shown."""
    given = [share for feedback in by_order.values() if (share := _share(feedback, first)) is not None]
    if not given or (both_orders and len(by_order) < 2):
        return None
    contradicts = min(given) < 0.5 < max(given)
    return 0.5 if contradicts or (both_orders and len(given) < 2) else sum(given) / len(given)


def _share(feedback: Feedback, attempt: str) -> float | None:
    """Return an attempt's share of a preference, normalised to a sum of 1; None for an abstention."""
    if feedback.preference is None or feedback.subject is None or feedback.verdict is Verdict.ABSTAIN:
        return None
    total = sum(feedback.preference)
    return feedback.preference[feedback.subject.attempts.index(attempt)] / total if total else 0.5
