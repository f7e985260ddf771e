"""A loop as a model: each completion is a run, its answer the text. What `Loop.as_model` returns.

Knows requests and results. Does not know how a loop runs: `Runs` is what it needs of a loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from critic_loop.assets import Recipe
from critic_loop.core.errors import CriticLoopError, DeadlineExceeded, ModelError
from critic_loop.core.messages import Message, assistant
from critic_loop.core.protocols import Completion, Request
from critic_loop.core.records import Choice, Usage
from critic_loop.graph.parts import LoopParts
from critic_loop.graph.result import Result
from critic_loop.roles.texts import plain_text


class Runs(Protocol):
    """What `LoopModel` needs of a `Loop`."""

    @property
    def recipe(self) -> Recipe:
        """The recipe, which gives the model its name."""
        ...

    @property
    def parts(self) -> LoopParts:
        """The parts, whose output turns an answer into text."""
        ...

    async def run(self, task: Sequence[Message], *, seed: int = 0) -> Result[Any]:
        """Run once and return the best answer."""
        ...


class LoopModel:
    """Answers a request by running its loop on the messages; n choices are n trees."""

    def __init__(self, loop: Runs) -> None:
        """Wrap `loop`; its owner closes it."""
        self._loop = loop

    @property
    def spec(self) -> str:
        """`loop:` and the recipe's name."""
        return f"loop:{self._loop.recipe.name}"

    async def complete(self, request: Request) -> Completion:
        """Run once for each choice, all within the request's `timeout_s`.

        Raises:
            ModelError: a run failed or came to no answer.
            DeadlineExceeded: the time was up; the tree begun last stays open in the store.
            CriticLoopError: an error that ends the inner loop's job ends the outer one's, too.
        """
        if request.score:
            raise ModelError(f"{self.spec} serves no log-probabilities of a given text.")
        if request.continues:
            raise ModelError(f"{self.spec} cannot continue the beginning of an answer.")
        limit = asyncio.timeout(request.timeout_s)
        try:
            async with limit:
                return await self._runs(request)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineExceeded(f"{self.spec}: no answer within {request.timeout_s:g} s.") from error

    async def _runs(self, request: Request) -> Completion:
        seed = request.sampling.seed or 0
        choices: list[Choice] = []
        usage = Usage()
        for number in range(request.choices):
            try:
                result = await self._loop.run(request.messages, seed=seed + number)
            except CriticLoopError as error:
                if isinstance(error, ModelError) or error.scope == "job":
                    raise
                raise ModelError(f"{self.spec}: {error}") from error
            if result.attempt_id is None or result.tree[result.attempt_id].error_code:
                raise ModelError(
                    f"{self.spec}: stopped ({result.stop}) without an answer; tree {result.tree.id}."
                )
            text = plain_text(self._loop.parts.output.dump(result.answer))
            choices.append(Choice(message=assistant(text, sampled=True)))
            usage += result.spend.usage
        return Completion(choices=tuple(choices), usage=usage, model=self.spec)

    async def aclose(self) -> None:
        """Leave the loop open: others may use it."""
