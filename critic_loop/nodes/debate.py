"""A debater: argues for one of two attempts, so that the judge who compares them has heard both sides.

In a round both sides speak at once, each having read all that was said in the rounds before: nobody has the
last word, and one debate serves the judge in both orders. Knows one argument. Does not know when a debate is
held (`nodes.stages`) nor who wins.
"""

from __future__ import annotations

from dataclasses import dataclass

from critic_loop.assets import Data
from critic_loop.core.errors import OutputError
from critic_loop.core.protocols import Request
from critic_loop.core.records import Feedback, Sampling
from critic_loop.nodes.desk import Desk, seed_of
from critic_loop.nodes.prompted import Prompted, answer_text, transcript, with_blobs
from critic_loop.outputs import output_of

_TEXT = output_of("text")


@dataclass(frozen=True, kw_only=True)
class PromptedDebater(Prompted):
    """Speaks for one attempt against another; both sides of a debate are played by it.

    **Source**: debate (Irving et al. 2018), as between models in Khan et al. (2024). SWE-Search (2024) has five
    agents discuss all candidates at once instead.
    """

    rounds: int

    async def argue(self, desk: Desk, mine: str, theirs: str, turn: int) -> Feedback:
        """Return the argument for `mine` in round `turn`, from 0.

        Raises:
            OutputError: the reply has no text, or refuses.
        """
        tree = desk.tree
        values = {
            "task": tree.task.text,
            "mine": Data("your answer", answer_text(tree[mine])),
            "theirs": Data("other answer", answer_text(tree[theirs])),
            "debate": transcript(tree, {"you": mine, "the other side": theirs}, rounds=turn),
        }
        messages = self.messages("user", values, tree.head.key)
        seed = seed_of(tree.asks[mine].seed, tree.asks[theirs].seed, self.name, turn)
        request = Request(
            messages=(*messages[:-1], with_blobs(messages[-1], tree.task)),
            sampling=self.sampling(Sampling(), seed),
        )
        place = self.place(mine, theirs, turn=turn)
        call, completion = await desk.calls.complete(place, self.slot, request, template=self.template_id)
        said = _TEXT.parse(completion.choices[0].message)
        if not said.found:
            raise OutputError(said.reason or "the reply has no text")
        return Feedback(text=str(said.value), calls=(call,))
