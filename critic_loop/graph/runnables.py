"""Actors that are LangChain runnables or compiled LangGraph graphs of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from critic_loop.core.errors import CriticLoopError, ModelError, OutputError, boundary
from critic_loop.core.messages import Message, assistant
from critic_loop.core.records import Ask
from critic_loop.nodes.desk import Desk, Turn
from critic_loop.nodes.prompted import answer_text, feedback_values, plain_text
from critic_loop.nodes.roles import message_of, parsed_of, turns_of
from critic_loop.nodes.view import masked_feedback


def is_runnable(thing: object) -> bool:
    """Whether `thing` looks like a LangChain runnable."""
    return hasattr(thing, "ainvoke") and hasattr(thing, "invoke")


@dataclass(frozen=True)
class RunnableActor:
    """Hands a runnable the conversation so far; a graph with a `messages` channel gets it there.

    Earlier attempts are assistant messages; feedback on them is a user message of its texts.
    """

    runnable: Any
    name: str

    async def act(
        self,
        desk: Desk,
        asks: tuple[Ask, ...],
        so_far: tuple[Message, ...],  # noqa: ARG002
    ) -> list[Turn | CriticLoopError]:
        """Invoke it once for each ask, for all of them at the same time."""
        return await turns_of(self._one(desk, ask) for ask in asks)

    async def _one(self, desk: Desk, ask: Ask) -> Turn:
        conversation = _conversation(desk, ask)
        wants_state = "messages" in getattr(self.runnable, "channels", {})
        with boundary(ModelError, f"actor {self.name!r}"):
            given = await self.runnable.ainvoke({"messages": conversation} if wants_state else conversation)
        value = _answer_in(given)
        message = message_of(value, desk)
        return Turn(messages=(message,), answer=parsed_of(value, message, desk))


def _conversation(desk: Desk, ask: Ask) -> list[tuple[str, str]]:
    tree = desk.tree
    turns = [(m.role, m.text) for m in tree.task.prompt]
    for attempt_id in ask.context.attempts:
        about = [tree.feedback[i] for i in ask.context.feedback]
        about = [f for f in about if f.subject and attempt_id in f.subject.attempts]
        turns += [("assistant", answer_text(tree[attempt_id])), ("user", _remarks(about, ask.context.fields))]
    return turns


def _remarks(feedback: list[Any], fields: tuple[str, ...]) -> str:
    shown = [feedback_values(f) for f in masked_feedback(feedback, fields)]
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
