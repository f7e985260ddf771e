"""Actors that are LangChain runnables or compiled LangGraph graphs of the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from critic_loop.core.errors import CriticLoopError, ModelError, OutputError, boundary
from critic_loop.core.messages import assistant
from critic_loop.core.records import Feedback
from critic_loop.core.roles import Turn
from critic_loop.core.view import View
from critic_loop.roles.function_actor import message_of, parsed_of, turns_of
from critic_loop.roles.texts import answer_text, feedback_values, plain_text


def is_runnable(thing: object) -> bool:
    """Whether `thing` looks like a LangChain runnable."""
    return hasattr(thing, "ainvoke") and hasattr(thing, "invoke")


@dataclass(frozen=True)
class RunnableActor:
    """Passes the conversation so far to a runnable; to a graph with a `messages` channel, in this channel.

    Earlier attempts are assistant messages; feedback on them is a user message of its texts.
    """

    runnable: Any
    name: str

    async def act(self, views: Sequence[View[Any]]) -> list[Turn | CriticLoopError]:
        """Invoke it once for each view, for all of them at the same time."""
        return await turns_of(self._one(view) for view in views)

    async def _one(self, view: View[Any]) -> Turn:
        conversation = _conversation(view)
        wants_state = "messages" in getattr(self.runnable, "channels", {})
        with boundary(ModelError, f"actor {self.name!r}"):
            given = await self.runnable.ainvoke({"messages": conversation} if wants_state else conversation)
        value = _answer_in(given)
        message = message_of(value, view)
        return Turn(messages=(message,), answer=parsed_of(value, message, view))


def _conversation(view: View[Any]) -> list[tuple[str, str]]:
    turns = [(m.role, m.text) for m in view.task.prompt]
    for attempt in view.path:
        about = [f for f in view.feedback if f.subject and attempt.id in f.subject.attempts]
        turns += [("assistant", answer_text(attempt)), ("user", _remarks(about))]
    return turns


def _remarks(feedback: Sequence[Feedback]) -> str:
    shown = [feedback_values(f) for f in feedback]
    lines = [": ".join(str(x) for x in (f["author"], f["verdict"], f["text"]) if x) for f in shown]
    return "\n\n".join(lines) or "?"


def _answer_in(given: Any) -> Any:
    if isinstance(given, Mapping):
        if messages := given.get("messages"):
            return _answer_in(messages[-1])
        for key in ("answer", "output"):
            if key in given:
                return given[key]
        raise OutputError(
            f"the actor's graph returned {sorted(given)}.",
            hint="Give it a 'messages', 'answer' or 'output' channel.",
        )
    content = getattr(given, "content", None)
    if content is not None:
        text = content if isinstance(content, str) else plain_text([c for c in content if c])
        return assistant(text, sampled=True)
    return given
