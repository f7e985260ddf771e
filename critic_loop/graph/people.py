"""How people are asked and how their answers are read, within a host and elsewhere.

Knows the attempts that wait. LangGraph is imported only where a host's person is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from critic_loop.core.errors import CriticLoopError, UnreadableResponse
from critic_loop.core.functions import feedback_from
from critic_loop.core.records import Event, Feedback, tree_of
from critic_loop.core.tree import Tree
from critic_loop.graph.session import Session
from critic_loop.nodes.stages import awaited
from critic_loop.roles.texts import answer_text


def question(session: Session) -> dict[str, Any]:
    """Return what the interrupt shows: the attempts that wait, what they answer, who is asked."""
    tree = session.tree
    return {
        "tree_id": tree.id,
        "task": tree.task.text,
        "attempts": [
            {
                "attempt_id": i,
                "answer": tree[i].answer,
                "text": answer_text(tree[i]),
                "asked": [human.name for human in awaited(session.run, i)],
                "question": next((h.question for h in awaited(session.run, i)), ""),
            }
            for i in session.parked()
        ],
    }


def ask_people(session: Session) -> Any:
    """Interrupt the host until somebody's answer can be read, and return it; call it in a host's node."""
    from langgraph.types import interrupt

    asked, waiting = question(session), session.parked()
    answer = interrupt(asked)
    while problem := unreadable(answer, waiting):
        answer = interrupt({**asked, "error": problem})
    return answer


def skip_answers(heard: int, known: list[str]) -> None:
    """Pass over `heard` answers that the tree holds already; call it in a host's node.

    LangGraph gives a resumed node its earlier answers again, in order, with those that could not be read.
    """
    if heard:
        from langgraph.types import interrupt

        while heard:
            heard -= not unreadable(interrupt(None), known)


async def respond(session: Session, answer: Any, *, by: str) -> None:
    """Add people's words to the attempts that wait for them; `by` says who brought them: caller or host.

    Raises:
        ConfigError: the answer cannot be read.
    """
    for attempt_id, feedback in answers_in(answer, session.parked()).items():
        await session.respond(attempt_id, feedback)
    await session.record(Event(kind="resume", at=session.now(), data={"by": by}), durable=True)


def heard_by_host(tree: Tree) -> int:
    """Return how many of the host's interrupts have been answered in this tree."""
    return sum(1 for event in tree.events if event.kind == "resume" and event.data.get("by") == "host")


def unreadable(answer: Any, parked: list[str]) -> str:
    """Return why an answer cannot be read; empty if it can."""
    try:
        answers_in(answer, parked)
    except UnreadableResponse as error:
        return str(error)
    return ""


def answers_in(answer: Any, parked: list[str]) -> dict[str, Feedback]:
    """Return feedback by attempt from what a person resumed with.

    A bool, number, text, Feedback or mapping of its fields is about all that wait; a mapping whose keys
    are attempt ids has one for each. Attempts that do not wait any more are passed over.

    Raises:
        UnreadableResponse: it is none of these.
    """
    trees = {tree_of(attempt_id) for attempt_id in parked}
    if isinstance(answer, Mapping) and answer and {tree_of(str(key)) for key in answer} <= trees:
        return {i: _about(i, one_answer(value)) for i, value in answer.items() if i in parked}
    return {attempt_id: _about(attempt_id, one_answer(answer)) for attempt_id in parked}


def _about(attempt_id: str, feedback: Feedback) -> Feedback:
    """Return a person's word if it is about this attempt alone.

    Raises:
        UnreadableResponse: it is about something else, or takes the place of other feedback.
    """
    named = feedback.subject
    if (named is not None and named.attempts != (attempt_id,)) or feedback.supersedes or feedback.rests_on:
        raise UnreadableResponse(
            f"a person's answer cannot be read: it is not about attempt {attempt_id!r} alone.",
            hint="Leave out subject, supersedes and rests_on; store.add_feedback takes the rest.",
        )
    return feedback


def one_answer(answer: Any) -> Feedback:
    """Return one person's word as feedback; text alone is a remark without a verdict."""
    if isinstance(answer, str):
        return Feedback(text=answer)
    try:
        return Feedback.model_validate(dict(answer)) if isinstance(answer, Mapping) else feedback_from(answer)
    except (ValidationError, ValueError, CriticLoopError) as error:
        raise UnreadableResponse(
            f"a person's answer cannot be read: {error}.",
            hint="Resume with true, false, a text, or fields of a Feedback, as in {'verdict': 'pass'}.",
        ) from error
