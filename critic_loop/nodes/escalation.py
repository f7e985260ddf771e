"""A critic that asks a second one where it is not sure: a local model first, a hosted one when it matters.

Knows feedback. Does not know models: the two speak from slots of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from critic_loop.core.errors import CriticLoopError
from critic_loop.core.records import Feedback, Unit, Verdict
from critic_loop.nodes.calls import BudgetSpent
from critic_loop.nodes.desk import Critic, Desk, When
from critic_loop.nodes.roles import abstention, is_job_error


@dataclass(frozen=True, kw_only=True)
class Escalating:
    """Asks `first`; then `second`, if the first abstains, is less sure than `below`, or does not say."""

    first: Critic
    second: Critic
    below: Unit

    @property
    def name(self) -> str:
        """The first critic's: both speak as one author."""
        return self.first.name

    @property
    def when(self) -> When:
        """The first critic's."""
        return self.first.when

    @property
    def shadow(self) -> bool:
        """The first critic's."""
        return self.first.shadow

    async def critique(self, desk: Desk, attempt_id: str) -> Sequence[Feedback]:
        """Return the first's word, then the second's where it was asked; one that abstains is not obeyed."""
        first = await _heard(self.first, desk, attempt_id)
        if self._sure(first):
            return (first,)
        second = await _heard(self.second, desk, attempt_id)
        if second.verdict is Verdict.ABSTAIN:
            second = second.model_copy(update={"advisory": True})
        return (first, second)

    def _sure(self, feedback: Feedback) -> bool:
        if feedback.verdict is Verdict.ABSTAIN or feedback.confidence is None:
            return False
        return feedback.confidence >= self.below


async def _heard(critic: Critic, desk: Desk, attempt_id: str) -> Feedback:
    """Return one critic's word; an error that ends no job is an abstention.

    Raises:
        BudgetSpent: there is no call left: nothing is written, and both are heard when the tree goes on.
    """
    try:
        given = await critic.critique(desk, attempt_id)
    except BudgetSpent:
        raise
    except CriticLoopError as error:
        if is_job_error(error):
            raise
        return abstention(error)
    return given if isinstance(given, Feedback) else given[-1]
