"""A loop as a model: each completion is a run, its answer the text. `Loop.as_model`, or `loop:RECIPE@SPEC`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from critic_loop.assets import Library
from critic_loop.core.errors import ConfigError, CriticLoopError, DeadlineExceeded, ModelError
from critic_loop.core.messages import assistant
from critic_loop.core.protocols import Completion, Model, Request
from critic_loop.core.records import Choice, Usage
from critic_loop.models import resolve
from critic_loop.roles.texts import plain_text

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
        """Run once for each choice, all within the request's `timeout_s`.

        Raises:
            ModelError: a run failed or came to no answer.
            DeadlineExceeded: the time was up first; the tree begun last stays open in the store.
            CriticLoopError: an error that ends the inner loop's job ends the outer one's, too.
        """
        if request.score:
            raise ModelError(f"{self.spec} serves no log-probabilities of a given text.")
        if request.continues:
            raise ModelError(f"{self.spec} does not go on with an answer that was begun.")
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


def from_spec(rest: str) -> RecipeModel:
    """Return the model that `loop:RECIPE@SPEC` names.

    Raises:
        ConfigError: it is not of this form, or SPEC names no model.
        AssetError: there is no such recipe.
    """
    recipe, _, spec = rest.partition("@")
    if not recipe or ":" not in spec:
        raise ConfigError(
            f"'loop:{recipe}' does not say which model plays its roles.",
            hint="Write loop:RECIPE@BACKEND:NAME, or give a Loop of your own: loop.as_model().",
        )
    Library().recipe(recipe)
    return RecipeModel(recipe, resolve(spec))


class RecipeModel:
    """A recipe all of whose roles one model plays. Its trees are gone when it has answered.

    A `Loop` keeps its trees, and may bind other models to its roles: `Loop.as_model`.
    """

    def __init__(self, recipe: str, model: Model) -> None:
        """Take a bundled recipe's name or a file, and who plays."""
        self._recipe = recipe
        self._model = model

    def __repr__(self) -> str:
        return f"RecipeModel({self.spec!r})"

    @property
    def spec(self) -> str:
        """The spec string."""
        return f"loop:{self._recipe}@{self._model.spec}"

    async def complete(self, request: Request) -> Completion:
        """Run the recipe once for each choice.

        Raises:
            ModelError: as of `LoopModel`.
        """
        from critic_loop.graph.loop import Loop

        loop: Loop[Any] = Loop(self._recipe, actor=self._model, critic=self._model)
        try:
            return replace(await LoopModel(loop).complete(request), model=self.spec)
        finally:
            await loop.aclose()

    async def aclose(self) -> None:
        """Close the model that plays; a later call opens it again."""
        await self._model.aclose()
