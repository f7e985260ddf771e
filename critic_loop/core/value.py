"""What an attempt is worth: verified first, then score. The one place where this is decided.

Evidence (verifiers, tools) and opinion (critics, judges, humans) stay apart, and opinion never
lifts a failing attempt over a passing one (rule 9 of the cross-paper rules: pass rate, then score).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import total_ordering

from critic_loop.core.records import Feedback, Verdict
from critic_loop.core.tree import Tree

EVIDENCE = ("verifier", "tool")


@total_ordering
@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """An attempt's worth, ordered lexicographically: verdict, evidence score, opinion score."""

    verified: bool | None = None
    """True: every verifier that judged passed it. False: one failed it. None: none judged."""
    evidence: float | None = None
    """Mean of the verifiers' scores in [0, 1]."""
    accepted: bool | None = None
    """True: every critic that judged accepted it. False: one did not. None: none judged."""
    opinion: float | None = None
    """Mean of the critics' scores in [0, 1]."""

    @property
    def key(self) -> tuple[float, float, float, float]:
        """What is compared. Not judged ranks between a fail and a pass, and below any score."""
        return (_RANK[self.verified], _low(self.evidence), _RANK[self.accepted], _low(self.opinion))

    def __lt__(self, other: Value) -> bool:
        return self.key < other.key

    @property
    def score(self) -> float | None:
        """One number in [0, 1] for plots and plateaus: verified is 1; else evidence, else opinion."""
        if self.verified is True:
            return 1.0
        if self.evidence is not None:
            return self.evidence
        if self.verified is False:
            return 0.0
        if self.opinion is not None:
            return self.opinion
        return None if self.accepted is None else float(self.accepted)


NOT_JUDGED = Value()


def value_of(tree: Tree, attempt_id: str) -> Value:
    """Return the worth of an attempt by the valid feedback on it as a whole. O(its feedback)."""
    judgements = tree.judgements(attempt_id)
    if not judgements:
        return NOT_JUDGED
    verified, evidence = _tally(judgements, evidence=True)
    accepted, opinion = _tally(judgements, evidence=False)
    return Value(verified=verified, evidence=evidence, accepted=accepted, opinion=opinion)


def best(tree: Tree, among: tuple[str, ...] | None = None) -> str | None:
    """Return the complete answer of highest value; the earliest of equals; None if there is none."""
    ids = tree.attempts if among is None else among
    found = (tree[i] for i in ids)
    complete = [a.id for a in found if a.status == "complete" and not a.unfinished and a.kind != "tests"]
    return max(complete, key=lambda i: value_of(tree, i).key, default=None)


def preference(tree: Tree, first: str, second: str) -> float | None:
    """Return how much judges prefer `first` over `second`: the mean share over both orders.

    None until both orders have been asked, and where judges only abstained. Judges that contradict
    themselves when the order is swapped, or speak in one order alone, come out at 0.5, a tie.
    """
    return preferred(shares_of(tree, first, second))


def preferred(shares: dict[tuple[str, ...], float | None]) -> float | None:
    """Return what the shares of both orders (`shares_of`) come to; None as in `preference`."""
    given = [share for share in shares.values() if share is not None]
    if len(shares) < 2 or not given:
        return None
    contradicts = min(given) < 0.5 < max(given)
    return 0.5 if contradicts or len(given) < 2 else sum(given) / len(given)


def shares_of(tree: Tree, first: str, second: str) -> dict[tuple[str, ...], float | None]:
    """Return the share of `first` by the order in which the two were shown; None = an abstention.

    What critics say of a pair are arguments of a debate, and no shares.
    O(the feedback about `first`): of two, name the one that was compared less often first.
    """
    orders = ((first, second), (second, first))
    shares: dict[tuple[str, ...], float | None] = {}
    for feedback in tree.about(first):
        pair = feedback.subject.attempts if feedback.subject else ()
        if pair in orders and not feedback.advisory and feedback.source != "critic":
            shares[pair] = None if feedback.preference is None else feedback.preference[pair.index(first)]
    return shares


def beats(tree: Tree, challenger: str, holder: str) -> bool:
    """Whether `challenger` takes the place of `holder`: evidence first, then judges, then scores.

    Verifiers decide where they know. Else the preference of judges who saw both orders; a tie keeps the
    holder. Without judges, the higher value.
    """
    mine, theirs = value_of(tree, challenger), value_of(tree, holder)
    if mine.verified != theirs.verified:
        return mine > theirs
    judged = preference(tree, challenger, holder)
    return mine > theirs if judged is None else judged > 0.5


def _tally(judgements: tuple[Feedback, ...], *, evidence: bool) -> tuple[bool | None, float | None]:
    """Return whether all that gave a verdict passed it, and the mean of the scores; None = nobody did."""
    passed: bool | None = None
    scores: list[float] = []
    for judgement in judgements:
        if (judgement.source in EVIDENCE) is not evidence or judgement.verdict is Verdict.ABSTAIN:
            continue
        if judgement.verdict is not None:
            passed = judgement.verdict is Verdict.PASS and passed is not False
        if judgement.score is not None:
            scores.append(judgement.score)
    return passed, sum(scores) / len(scores) if scores else None


_RANK = {False: 0.0, None: 1.0, True: 2.0}


def _low(score: float | None) -> float:
    return -1.0 if score is None else score
