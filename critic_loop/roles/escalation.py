"""A critic that asks a second one where it is not sure: a local model first, a hosted one when it matters.

Knows feedback. Does not know models: the two speak from slots of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critic_loop.core.abstain import abstention, is_job_error
from critic_loop.core.errors import BudgetSpent, CriticLoopError
from critic_loop.core.records import Feedback, Unit, Verdict
from critic_loop.core.roles import Critic, View, When

_FIRST = "#first"


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
    def slot(self) -> str:
        """The first critic's."""
        return self.first.slot

    @property
    def sees(self) -> tuple[str, ...]:
        """The first critic's."""
        return self.first.sees

    @property
    def when(self) -> When:
        """The first critic's."""
        return self.first.when

    @property
    def shadow(self) -> bool:
        """The first critic's."""
        return self.first.shadow

    async def critique(self, view: View[Any]) -> Sequence[Feedback]:
        """Return the first's opinion, then the second's where it was asked.

        The second's takes the place of the first's; a second that abstains is advisory.
        """
        first = await _opinion(self.first, view)
        if self._sure(first):
            return (first,)
        second = await _opinion(self.second, view.as_agent(self.second.name, self.second.slot))
        second = second.model_copy(update={"requested_because": "escalated", "request_probability": 1.0})
        if second.verdict is Verdict.ABSTAIN:
            return (first, second.model_copy(update={"advisory": True}))
        return (first.model_copy(update={"id": _FIRST}), second.model_copy(update={"supersedes": _FIRST}))

    def _sure(self, feedback: Feedback) -> bool:
        if feedback.verdict is Verdict.ABSTAIN or feedback.confidence is None:
            return False
        return feedback.confidence >= self.below


async def _opinion(critic: Critic, view: View[Any]) -> Feedback:
    """Return one critic's opinion; an error that ends no job is an abstention.

    Raises:
        BudgetSpent: there is no call left: nothing is written, and both are asked when the tree goes on.
    """
    try:
        given = await critic.critique(view)
    except BudgetSpent:
        raise
    except CriticLoopError as error:
        if is_job_error(error):
            raise
        return abstention(error)
    return given if isinstance(given, Feedback) else given[-1]
