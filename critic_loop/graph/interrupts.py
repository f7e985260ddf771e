"""How the people of a host are asked: by LangGraph's `interrupt`, about all attempts that wait.

LangGraph runs an interrupted node again from its start and gives it its earlier answers, in their order. So the
tree holds which attempts a question was about and how many answers were taken. An answer is never taken for one
to another question, and where somebody else has answered before it is later feedback. Call these functions in a
host's node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from critic_loop.core.errors import NoSuchAttempt, NotAwaited, UnreadableResponse
from critic_loop.core.records import Event, Feedback
from critic_loop.core.tree import Tree
from critic_loop.graph.people import answers_in, waiting_for, write_down
from critic_loop.graph.registry import Sessions
from critic_loop.graph.session import Session


async def ask_people(sessions: Sessions, tree_id: str, *, begin: bool = True) -> bool:
    """Ask about the attempts of a tree that wait, and write the answer down; return whether there was one.

    A question that was asked and is open comes first. Where others have answered it, and the host has no answer
    either, it is dropped.

    Args:
        sessions: the loop's; the tree is not being run.
        tree_id: the tree.
        begin: whether to begin a new question.

    Raises:
        GraphInterrupt: LangGraph's, until somebody has answered.
    """
    async with sessions.stored(tree_id) as session:
        waiting, asked = session.parked(), _open_question(session.tree)
        answer = _answer(session, asked, wait=not set(asked).isdisjoint(waiting)) if asked else None
        if answer is None:
            if not (begin and waiting):
                return False
            data: dict[str, JsonValue] = {"by": "host", "attempts": [*waiting]}
            await session.record(Event(kind="park", at=session.now(), data=data), durable=True)
            answer = _answer(session, waiting, wait=True)
        if answer is None:  # `_answer` waits: it raises instead
            return False
        answers, interrupts = answer
        await write_down(session, answers, {"by": "host", "interrupts": interrupts})
    return True


def skip_answers(tree: Tree) -> None:
    """Pass over the answers that the tree holds already."""
    from langgraph.types import interrupt

    for event in tree.events:
        if event.kind == "resume" and event.data.get("by") == "host":
            for _ in range(int(str(event.data.get("interrupts", 1)))):
                interrupt(None)


def _open_question(tree: Tree) -> list[str]:
    """Return the attempts of the question that the host was asked last, if it has not answered."""
    for event in reversed(tree.events):
        if event.data.get("by") == "host":
            asked = event.data.get("attempts")
            return [str(i) for i in asked] if event.kind == "park" and isinstance(asked, list) else []
    return []


def _answer(session: Session, asked: Sequence[str], *, wait: bool) -> tuple[dict[str, Feedback], int] | None:
    """Return the host's answer about `asked`, and how many interrupts it took until it could be read.

    Without `wait`, None if the host has none.
    """
    from langgraph.errors import GraphInterrupt
    from langgraph.types import interrupt

    shown, interrupts = _question(session, asked), 0
    while True:
        try:
            answer = interrupt(shown)
        except GraphInterrupt:
            if wait or interrupts:
                raise
            return None
        interrupts += 1
        try:
            answers = answers_in(answer, asked, session.tree.asks)
            for attempt_id, feedback in answers.items():
                session.person(attempt_id, feedback.author)
        except (UnreadableResponse, NotAwaited, NoSuchAttempt) as error:
            shown = {**_question(session, asked), "error": str(error)}
        else:
            return answers, interrupts


def _question(session: Session, asked: Sequence[str]) -> dict[str, Any]:
    """Return what the interrupt shows: the task, the attempts, who is asked."""
    tree = session.tree
    attempts = [waiting_for(session, attempt_id).model_dump(mode="json") for attempt_id in asked]
    return {"tree_id": tree.id, "task": tree.task.text, "attempts": attempts}
