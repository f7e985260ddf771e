"""Critics that generate no text: they compare how likely given texts are after a prompt.

Knows the texts: the lines of a prompt's blocks, or the task itself. Does not know the formulas
(`outputs.likelihood`), and needs a model that serves log-probabilities of given texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from critic_loop.assets import Word
from critic_loop.core.errors import OutputError
from critic_loop.core.protocols import Request, scored_choices
from critic_loop.core.records import Choice, Feedback, Sampling
from critic_loop.core.roles import When
from critic_loop.core.view import View
from critic_loop.outputs import Likelihood
from critic_loop.roles.prompted import Prompted, critic_values, signed


@dataclass(frozen=True, kw_only=True)
class LikelihoodCritic(Prompted):
    """A critic whose score is computed from log-probabilities. One call scores all texts."""

    output: Likelihood
    sees: tuple[str, ...] = ("answer",)
    when: When = "always"
    shadow: bool = False

    async def critique(self, view: View[Any]) -> Feedback:
        """Score the texts; if the model serves no log-probabilities, an abstention is recorded.

        Raises:
            ModelError: the model cannot, or failed.
            OutputError: a block of the prompt is empty for this task.
        """
        values = critic_values(view, self.sees) | {"schema": Word("")}
        likely, unlikely = self._texts(view, values)
        request = Request(
            messages=self.question(values, view),
            sampling=self.sampling(Sampling(), view.seed),
            choices=len(likely) + len(unlikely),
            score=(*likely, *unlikely),
        )
        call, completion = await view.models.complete(request, template=self.template_id)
        weights = [_weights(choice) for choice in scored_choices(request, completion)]
        feedback = self.output.judge(weights[: len(likely)], weights[len(likely) :])
        return signed(feedback, call, completion, self.sees)

    def _texts(self, view: View[Any], values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        if not self.output.blocks:
            return [view.task.text], []
        for_it, against = (self._lines(block, values, view.fence_key) for block in self.output.blocks)
        if not (for_it and against):
            empty = self.output.blocks[1 if for_it else 0]
            raise OutputError(
                f"{self.template.where}: block {empty!r} is empty for this task, so there is no text to score."
            )
        return for_it, against

    def _lines(self, block: str, values: Mapping[str, Any], key: str) -> list[str]:
        return [line.strip() for line in self.template.render(block, values, key).splitlines() if line.strip()]


def _weights(choice: Choice) -> tuple[float, ...]:
    return choice.logprobs or ()
