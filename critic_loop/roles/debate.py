"""A debater: argues for one of two attempts before the judge compares them.

In a round both sides argue at once, and are shown all arguments of the rounds before. So neither has the last
word, and one debate serves the judge in both orders. Knows one argument. Does not know when a debate is held
(`nodes.stages`) nor who wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from critic_loop.assets import Data
from critic_loop.core.errors import OutputError
from critic_loop.core.protocols import Request
from critic_loop.core.records import Feedback, Sampling
from critic_loop.core.roles import seed_of
from critic_loop.core.view import View
from critic_loop.outputs import output_of
from critic_loop.roles.prompted import Prompted, signed
from critic_loop.roles.texts import answer_text, arguments, transcript

_TEXT = output_of("text")


@dataclass(frozen=True, kw_only=True)
class PromptedDebater(Prompted):
    """Argues for one attempt against another; it plays both sides of a debate.

    **Source**: debate (Irving et al. 2018), as between models in Khan et al. (2024). SWE-Search (2024) has five
    agents discuss all candidates at once instead.
    """

    rounds: int

    async def argue(self, view: View[Any]) -> Feedback:
        """Return the next argument for the first attempt of the pair.

        Raises:
            OutputError: the reply has no text, or refuses.
        """
        mine, theirs = view.pair
        turn = len(arguments(view.feedback, mine.id, theirs.id))
        values = {
            "task": view.task.text,
            "mine": Data("your answer", answer_text(mine)),
            "theirs": Data("other answer", answer_text(theirs)),
            "debate": transcript(view, ("you", "the other side"), rounds=turn),
        }
        sampling = self.sampling(Sampling(), seed_of(view.seed, turn))
        request = Request(messages=self.question(values, view), sampling=sampling)
        call, completion = await view.models.complete(request, template=self.template_id, turn=turn)
        said = _TEXT.parse(completion.choices[0].message)
        if not said.found:
            raise OutputError(said.reason or "the reply has no text")
        return signed(Feedback(text=str(said.value)), call, completion)
