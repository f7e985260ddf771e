"""The worth of an attempt as a record, and the order of such records: verified first, then score.

Evidence and opinion stay apart, and opinion never lifts a failing attempt over a passing one (rule 9 of the
cross-paper rules: pass rate, then score). Does not know how a tree comes to it (`evidence.better`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import total_ordering


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

_RANK = {False: 0.0, None: 1.0, True: 2.0}


def _low(score: float | None) -> float:
    return -1.0 if score is None else score
