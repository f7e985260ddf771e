"""A critic that asks a second one if the first is not sure: a local model first, then a hosted one, say.

Knows feedback. Does not know models: each critic has a slot of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critic_loop.core.abstain import abstention, is_job_error
from critic_loop.core.errors import BudgetSpent, CriticLoopError
from critic_loop.core.records import Feedback, Unit, Verdict
from critic_loop.core.roles import Critic, When
from critic_loop.core.view import View

_FIRST = "#first"


@dataclass(frozen=True, kw_only=True)
class Escalating:
    """Asks `first`; then `second`, if the first abstains or its confidence is below `below` or missing."""

    first: Critic
    second: Critic
    below: Unit

    @property
    def name(self) -> str:
        """The first critic's name: feedback of both has it as author."""
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
        """Return the first critic's feedback, then the second's if it was asked.

        The second's supersedes the first's; if the second abstains, its feedback is advisory.
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
    """Return one critic's feedback; an abstention if it fails with an error that does not end the job.

    Raises:
        BudgetSpent: no call is left. Nothing is recorded, and both are asked when the tree goes on.
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
