"""A loop as a model: each completion is a run, its answer the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from critic_loop.core.errors import CriticLoopError, ModelError
from critic_loop.core.messages import assistant
from critic_loop.core.protocols import Completion, Request
from critic_loop.core.records import Choice, Usage
from critic_loop.nodes.prompted import plain_text

if TYPE_CHECKING:
    from critic_loop.graph.loop import Loop


class LoopModel:
    """Answers a request by running its loop on the messages; n choices are n trees."""

    def __init__(self, loop: Loop[Any]) -> None:
        """Wrap `loop`, which stays its owner's to close."""
        self._loop = loop

    @property
    def spec(self) -> str:
        """`loop:` and the recipe's name."""
        return f"loop:{self._loop.recipe.name}"

    async def complete(self, request: Request) -> Completion:
        """Run once for each choice.

        Raises:
            ModelError: a run failed or came to no answer.
        """
        seed = request.sampling.seed or 0
        choices: list[Choice] = []
        usage = Usage()
        for number in range(request.choices):
            try:
                result = await self._loop.run(request.messages, seed=seed + number)
            except ModelError:
                raise
            except CriticLoopError as error:
                raise ModelError(f"{self.spec}: {error}") from error
            if result.attempt_id is None or result.answer is None:
                raise ModelError(
                    f"{self.spec}: stopped ({result.stop}) without an answer; tree {result.tree.id}."
                )
            text = plain_text(self._loop.parts.output.dump(result.answer))
            choices.append(Choice(message=assistant(text, sampled=True)))
            usage += result.spend.usage
        return Completion(choices=tuple(choices), usage=usage, model=self.spec)

    async def aclose(self) -> None:
        """Leave the loop open: others may use it."""
