"""Critics that write nothing: they weigh how likely given texts are behind a prompt.

Knows which texts: the lines of a prompt's blocks, or the task itself. Does not know the formulas
(`outputs.likelihood`), and needs a model that serves log-probabilities of given texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from critic_loop.assets import Word
from critic_loop.core.errors import OutputError
from critic_loop.core.protocols import Request, scored_choices
from critic_loop.core.records import Choice, Feedback, Sampling
from critic_loop.nodes.desk import Desk, When, seed_of
from critic_loop.nodes.prompted import Prompted, critic_values, with_blobs
from critic_loop.outputs import Likelihood


@dataclass(frozen=True, kw_only=True)
class LikelihoodCritic(Prompted):
    """A critic whose opinion is read off log-probabilities. One call weighs all texts."""

    output: Likelihood
    sees: tuple[str, ...] = ("answer",)
    when: When = "always"
    shadow: bool = False

    async def critique(self, desk: Desk, attempt_id: str) -> Feedback:
        """Weigh the texts; a model that serves no log-probabilities is an abstention.

        Raises:
            ModelError: the model cannot, or failed.
            OutputError: a block of the prompt came out empty.
        """
        tree = desk.tree
        values = critic_values(desk, attempt_id, self.sees) | {"schema": Word("")}
        messages = self.messages("user", values, tree.head.key)
        likely, unlikely = self._texts(desk, values)
        request = Request(
            messages=(*messages[:-1], with_blobs(messages[-1], tree.task)),
            sampling=self.sampling(Sampling(), seed_of(tree.asks[attempt_id].seed, self.name)),
            choices=len(likely) + len(unlikely),
            score=(*likely, *unlikely),
        )
        call, completion = await desk.calls.complete(
            self.place(attempt_id), self.slot, request, template=self.template_id
        )
        weights = [_weights(choice) for choice in scored_choices(request, completion)]
        feedback = self.output.judge(weights[: len(likely)], weights[len(likely) :])
        return feedback.model_copy(update={"calls": (call,), "saw_reference": "reference" in self.sees})

    def _texts(self, desk: Desk, values: dict[str, Any]) -> tuple[list[str], list[str]]:
        if not self.output.blocks:
            return [desk.tree.task.text], []
        for_it, against = (self._lines(block, values, desk.tree.head.key) for block in self.output.blocks)
        if not (for_it and against):
            empty = self.output.blocks[1 if for_it else 0]
            raise OutputError(
                f"{self.template.where}: block {empty!r} has no line here, so nothing is weighed."
            )
        return for_it, against

    def _lines(self, block: str, values: dict[str, Any], key: str) -> list[str]:
        return [line.strip() for line in self.template.render(block, values, key).splitlines() if line.strip()]


def _weights(choice: Choice) -> tuple[float, ...]:
    return choice.logprobs or ()
