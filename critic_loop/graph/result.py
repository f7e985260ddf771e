"""What a loop returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from typing_extensions import TypeVar

from critic_loop.core.records import Spend, Task, Verdict
from critic_loop.core.tree import Tree
from critic_loop.core.value import Value
from critic_loop.evidence import value_of, verdict_of

if TYPE_CHECKING:
    from critic_loop.metrics import Why

T = TypeVar("T", default=str)


@dataclass(frozen=True, kw_only=True)
class Result(Generic[T]):
    """The answer, who decided, why the loop stopped, what it cost, and the whole tree."""

    answer: T | None
    """The chosen attempt's typed answer; None when there is none."""
    attempt_id: str | None
    """The chosen attempt; feedback on the answer goes here."""
    decided_by: str
    """`verifier`, `critic`, `judge`, `vote` or `nobody`."""
    stop: str
    """Which rule ended the loop: `verified`, `accepted`, `max_rounds`, `budget`, `steps`, `parked`, ..."""
    stop_text: str
    spend: Spend
    tree: Tree
    error: str = ""
    """What ended the tree, where `stop` is `error`."""

    @property
    def task(self) -> Task:
        """What was to be done."""
        return self.tree.task

    @property
    def value(self) -> Value:
        """The chosen attempt's worth; the empty value when there is none."""
        return Value() if self.attempt_id is None else value_of(self.tree, self.attempt_id)

    @property
    def verdict(self) -> Verdict:
        """Whether the answer is known to be right (`evidence.right`), else what critics think, else ABSTAIN."""
        return Verdict.ABSTAIN if self.attempt_id is None else verdict_of(self.tree, self.attempt_id)

    @property
    def parked(self) -> tuple[str, ...]:
        """Attempts that wait for a person's word."""
        return tuple(i for i, a in self.tree.attempts.items() if a.status == "parked")

    def why(self) -> Why:
        """Return why there is no right answer, or that there is one; `print(result.why())` reads well.

        Judged anew at each call by what the tree holds: `critic_loop.metrics.why` does the same for a tree
        that was loaded later, with what users and verifiers have said since.
        """
        from critic_loop.metrics import why

        return why(self.tree)
