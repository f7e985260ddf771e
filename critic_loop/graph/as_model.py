"""A recipe as a model: `loop:RECIPE@SPEC`.

Parses the spec, and makes a loop for each call. Does not know how a loop answers: `graph.loop_model`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from critic_loop.assets import Library
from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Completion, Model, Request
from critic_loop.graph.loop import Loop
from critic_loop.graph.loop_model import LoopModel
from critic_loop.models import resolve


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
    """A recipe all of whose roles are played by one model. Its trees are not kept.

    `Loop.as_model` keeps the trees of its loop, and may bind several models.
    """

    retries_itself = True

    def __init__(self, recipe: str, model: Model) -> None:
        """Take a bundled recipe's name or a file, and the model for all roles."""
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
        loop: Loop[Any] = Loop(self._recipe, actor=self._model, critic=self._model)
        try:
            return replace(await LoopModel(loop).complete(request), model=self.spec)
        finally:
            await loop.aclose()

    async def aclose(self) -> None:
        """Close the model; a later call opens it again."""
        await self._model.aclose()
