"""What an attempt is worth, which of two attempts is better, by how much, and who says so.

The one place where this is decided: search, selection, stop rules and exports ask here. Evidence comes first
(what verifiers say), then the preference of judges, then opinion (what critics and people say of one attempt).
What a tool computed is neither. Reads no grades (`Tree.grades`). Does not know what is right
(`evidence.right`).
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
"""Sources of opinion. A tool's feedback is neither: it counts through the critic or verifier that reads it."""
PEOPLE = ("human", "user")
"""Sources that are people: their preference between two attempts counts in one order, too."""

By = Literal["evidence", "judge", "opinion"]
_Pair = tuple[str, str]


# -- one attempt -----------------------------------------------------------------------------------


def value_of(tree: Tree, attempt_id: str) -> Value:
    """Return the worth of an attempt by the valid feedback on it as a whole. O(its feedback)."""
    judgements = tree.judgements(attempt_id)
    if not judgements:
        return NOT_JUDGED
    verified, evidence = _tally(judgements, EVIDENCE)
    accepted, opinion = _tally(judgements, OPINION)
    return Value(verified=verified, evidence=evidence, accepted=accepted, opinion=opinion)


def _tally(judgements: tuple[Feedback, ...], sources: tuple[str, ...]) -> tuple[bool | None, float | None]:
    """Return whether all that gave a verdict passed it, and the mean of the scores; None = nobody did."""
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
    """Return whose word gave an attempt its worth: `verifier`, `critic`, or `nobody`."""
    if attempt_id is None:
        return "nobody"
    value = value_of(tree, attempt_id)
    if value.verified is not None or value.evidence is not None:
        return "verifier"
    return "critic" if value.accepted is not None or value.opinion is not None else "nobody"


# -- several attempts ------------------------------------------------------------------------------


def best(tree: Tree, among: tuple[str, ...] | None = None) -> str | None:
    """Return the complete answer of highest value; the earliest of equals; None if there is none."""
    ids = tree.attempts if among is None else among
    found = (tree[i] for i in ids)
    complete = [a.id for a in found if a.status == "complete" and not a.unfinished and a.kind != "tests"]
    return max(complete, key=lambda i: value_of(tree, i).key, default=None)


def standing(tree: Tree, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of `ids` that verifiers rank highest: passed ones, else those not failed, else all.

    What votes and scores come after: no opinion lifts a failing candidate over a passing one.
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
    """In (0, 1]: the difference of scores or of shares of preference; 1 where verdicts differ, or where only
    one of the two was judged by what decides."""
    feedback: tuple[Feedback, ...] = ()
    """The comparisons that decided, where a judge did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """Neither attempt is better, by all that was asked for."""

    by: By | None = None
    """`judge` where judges compared the two and prefer neither; None where no word tells them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Which attempt is better cannot be said yet."""

    lacks: Literal["judgement", "comparison"]
    """`judgement`: only one of the two was judged by what decides. `comparison`: no judge has compared them in
    both orders."""


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
    """Return which of two attempts is better, and by whose word.

    Asked in this order, the first that tells the two apart decides: evidence (verdict, then score), the
    preference of judges, opinion (verdict, then score). Judges who compared the two and prefer neither decide
    that it is a tie. The order in which the two are named does not matter. O(the feedback on both).

    Args:
        tree: the tree of both.
        one: an attempt's id. The comparisons of the two are looked for among the feedback about it: name the
            one that was compared less often.
        other: another's.
        both_judged: where only one of two was judged, say nothing (`Open`). Without, not judged ranks as in
            `Value`: between a fail and a pass, and below any score.
        compared: ask for a comparison (`Open`) before opinion decides, unless a judge was asked in both orders.
        both_orders: whether a judge's word counts only where it was asked in both orders.
        values: the worth of both, where the caller knows it already.
    """
    a, b = (values or {}).get(one), (values or {}).get(other)
    a, b = a or value_of(tree, one), b or value_of(tree, other)
    gain = _gain((a.verified, a.evidence), (b.verified, b.evidence), both_judged=both_judged)
    if gain is None:
        return Open(lacks="judgement")
    if gain:
        return _better(one, other, "evidence", gain)
    met = comparison_of(tree, one, other, both_orders=both_orders)
    if met.share is not None:
        gain = round(2 * met.share - 1, 12)
        return _better(one, other, "judge", gain, met.feedback) if gain else Tie(by="judge")
    if compared and not met.complete:
        return Open(lacks="comparison")
    gain = _gain((a.accepted, a.opinion), (b.accepted, b.opinion), both_judged=both_judged)
    if gain is None:
        return Open(lacks="judgement")
    return _better(one, other, "opinion", gain) if gain else Tie()


def beats(tree: Tree, challenger: str, holder: str) -> bool:
    """Whether `challenger` takes the place of `holder`: whether it is better (`better_of`); a tie keeps it."""
    found = better_of(tree, challenger, holder)
    return isinstance(found, Better) and found.better == challenger


_Said = tuple[bool | None, float | None]
"""A verdict and a score."""


def _gain(one: _Said, other: _Said, *, both_judged: bool) -> float | None:
    """Return by how much `one` is better, in [-1, 1]: by verdict, else by score; None where that is open."""
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
    """What was said when two attempts were shown together."""

    share: float | None
    """How much the first is preferred, in [0, 1]: the mean over those who were asked; 0.5 is a tie. None where
    no word counts."""
    complete: bool
    """Whether the two were shown in both orders, also where only abstentions came of it."""
    feedback: tuple[Feedback, ...] = ()
    """What counts, oldest first."""


def comparison_of(tree: Tree, first: str, second: str, *, both_orders: bool = True) -> Comparison:
    """Return what comparisons of two attempts come to. O(the feedback about `first`).

    A judge is asked in both orders. One that contradicts itself when the order is swapped, or abstains in one
    order, prefers neither (0.5); one that was asked in one order alone, or only abstained, does not count.
    People count in one order, too. What critics say of a pair are arguments of a debate, and no preferences.

    Args:
        tree: the tree of both.
        first: an attempt's id.
        second: another's.
        both_orders: without it, a judge's word in one order counts as it is.
    """
    shown = ((first, second), (second, first))
    by_author: dict[tuple[str, str], dict[_Pair, Feedback]] = {}
    for feedback in tree.about(first):
        pair = feedback.subject.attempts if feedback.subject else ()
        if len(pair) == 2 and pair in shown and not feedback.advisory and feedback.source != "critic":
            by_author.setdefault((feedback.source, feedback.author), {})[pair] = feedback
    shares: list[float] = []
    counts: list[Feedback] = []
    for (source, _), said in by_author.items():
        share = _preferred(said, first, both_orders=both_orders and source not in PEOPLE)
        if share is not None:
            shares.append(share)
            counts += said.values()
    orders = {pair for said in by_author.values() for pair in said}
    mean = sum(shares) / len(shares) if shares else None
    return Comparison(share=mean, complete=len(orders) == 2, feedback=tuple(counts))


def preference(tree: Tree, first: str, second: str) -> float | None:
    """Return how much judges prefer `first` over `second`, in [0, 1]; None where none did (`comparison_of`)."""
    return comparison_of(tree, first, second).share


def _preferred(said: Mapping[_Pair, Feedback], first: str, *, both_orders: bool) -> float | None:
    """Return what one author's words on a pair, by the order in which it was shown, come to."""
    given = [share for feedback in said.values() if (share := _share(feedback, first)) is not None]
    if not given or (both_orders and len(said) < 2):
        return None
    contradicts = min(given) < 0.5 < max(given)
    return 0.5 if contradicts or (both_orders and len(given) < 2) else sum(given) / len(given)


def _share(feedback: Feedback, attempt: str) -> float | None:
    """Return an attempt's share of a preference, the shares scaled to sum to 1; None for an abstention."""
    if feedback.preference is None or feedback.subject is None or feedback.verdict is Verdict.ABSTAIN:
        return None
    total = sum(feedback.preference)
    return feedback.preference[feedback.subject.attempts.index(attempt)] / total if total else 0.5
