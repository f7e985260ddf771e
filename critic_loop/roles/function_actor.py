"""Actors made of functions of a `View`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from critic_loop.core.errors import CriticLoopError, ModelError, OutputError, boundary
from critic_loop.core.messages import Message, assistant
from critic_loop.core.protocols import Parsed
from critic_loop.core.roles import Turn, Unfinished
from critic_loop.core.view import View
from critic_loop.roles.texts import plain_text


@dataclass(frozen=True)
class FunctionActor:
    """An actor made of an async function `(View) -> answer`."""

    function: Callable[..., Any]
    name: str
    slot: str = "actor"

    async def act(self, views: Sequence[View[Any]]) -> list[Turn | CriticLoopError]:
        """Call the function once for each view, for all of them at the same time."""
        return await turns_of(self._one(view) for view in views)

    async def _one(self, view: View[Any]) -> Turn:
        with boundary(ModelError, f"actor {self.name!r}"):
            given = self.function(view)
            value = await given if inspect.isawaitable(given) else given
        if isinstance(value, Unfinished):
            return Turn(messages=(assistant(value.text),), calls=view.models.calls, unfinished=True)
        message = message_of(value, view)
        return Turn(messages=(message,), answer=parsed_of(value, message, view), calls=view.models.calls)


async def turns_of(each: Iterable[Coroutine[Any, Any, Turn]]) -> list[Turn | CriticLoopError]:
    """Run all at once; return a turn or an error for each, so that an error in one keeps the others' answers.

    Raises:
        CriticLoopError: there is only one, and it failed.
    """
    running = tuple(each)
    if len(running) == 1:
        return [await running[0]]
    ends: list[Turn | CriticLoopError] = []
    for end in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(end, BaseException) and not isinstance(end, CriticLoopError):
            raise end
        ends.append(end)
    return ends


def message_of(value: Any, view: View[Any]) -> Message:
    """Return an actor's return value as a message of the conversation."""
    if isinstance(value, Message):
        return value
    if isinstance(value, str):
        return assistant(value)
    fitted = _fitted(value, view)
    if not fitted.found or view.output is None:
        return assistant(repr(value))
    return assistant(plain_text(view.output.dump(fitted.value)))


def parsed_of(value: Any, message: Message, view: View[Any]) -> Parsed[Any]:
    """Return the typed answer in an actor's return value."""
    if isinstance(value, str | Message) and view.output is not None:
        return view.output.parse(message)
    return _fitted(value, view)


def _fitted(value: Any, view: View[Any]) -> Parsed[Any]:
    """Return `value` if it is of the output's type, else the reason, which is feedback for the actor."""
    if view.output is None:
        return Parsed(value)
    try:
        with boundary(OutputError, "the actor's return value"):
            return Parsed(view.output.load(view.output.dump(value)))
    except OutputError as error:
        return Parsed.unparsed(f"{type(value).__name__} was returned: {error}")
