"""How a running loop stands: what stop rules read, and the reasons to stop that they return.

Knows counts, scores and spending of one tree. Does not know the rules (`core.stop`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from critic_loop.core.records import Spend
from critic_loop.core.tree import Tree
from critic_loop.core.value import NOT_JUDGED, Value

LIMITS = frozenset({"budget", "spent", "elapsed", "steps"})
"""Stop reasons that cut a search short."""
ENDED_BY_HAND = frozenset({"interrupted", "stopped"})
"""Stop reasons of `Loop.interrupt`, which ends all trees, and `Loop.stop`, which ends one."""
GOES_ON = LIMITS | ENDED_BY_HAND | {"parked", "failing"}
"""Stop reasons after which a tree may be resumed: with more budget or time, new feedback, a repaired server."""


@dataclass(frozen=True, slots=True)
class StopReason:
    """The name of the rule that ended a loop, and a sentence for people."""

    name: str
    text: str = ""


@dataclass(slots=True)
class Progress:
    """What rules look at: a running summary, so that each rule costs O(1) an attempt."""

    tree: Tree
    spend: Spend = field(default_factory=Spend)
    judged: int = 0
    latest: str = ""
    """The attempt judged last."""
    unfinished: bool = False
    """Whether it is a step or a thought, whose worth is no answer's: only counts and limits look at it."""
    value: Value = field(default_factory=Value)
    """Its worth; of what is unfinished nothing is known."""
    best_scores: list[float] = field(default_factory=list[float])
    """Best score so far after each judged answer, in [0, 1]; unjudged counts as 0 here only."""
    calls: list[int] = field(default_factory=list[int])
    """Model calls made by the time when each of them was judged."""
    failures_in_a_row: int = 0
    failed_group: str | None = None

    def observe(self, attempt_id: str, spend: Spend, value: Value) -> None:
        """Take note that `attempt_id` has all its feedback.

        Args:
            attempt_id: the attempt.
            spend: what the loop has spent so far.
            value: what the attempt is worth (`evidence.value_of`); not looked at where it is unfinished.
        """
        self.latest, self.spend, self.judged = attempt_id, spend, self.judged + 1
        self.unfinished = self.tree[attempt_id].unfinished
        self.value = NOT_JUDGED if self.unfinished else value
        if not self.unfinished:
            self.calls.append(spend.calls)
            score = self.value.score or 0.0
            self.best_scores.append(max(score, self.best_scores[-1] if self.best_scores else 0.0))
        self._count_failure(attempt_id)

    def _count_failure(self, attempt_id: str) -> None:
        """Count failures in a row; attempts that one request was to answer fail as one."""
        ask = self.tree.asks[attempt_id]
        if self.tree[attempt_id].status != "failed":
            self.failures_in_a_row, self.failed_group = 0, None
        elif ask.group is None or ask.group != self.failed_group:
            self.failures_in_a_row, self.failed_group = self.failures_in_a_row + 1, ask.group
