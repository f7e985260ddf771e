"""How a host's person is asked and how their answer is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from critic_loop.core.errors import ConfigError
from critic_loop.core.records import Feedback
from critic_loop.graph.session import Session
from critic_loop.nodes.prompted import answer_text
from critic_loop.nodes.roles import judgement
from critic_loop.nodes.stages import awaited


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
                "asked": [human.name for human in awaited(session.desk, i)],
                "question": next((h.question for h in awaited(session.desk, i)), ""),
            }
            for i in session.parked()
        ],
    }


def answers_in(answer: Any, parked: list[str]) -> dict[str, Feedback]:
    """Return feedback by attempt from what a person resumed with.

    A bool, number, text, Feedback or mapping of its fields is about all that wait; a mapping whose keys
    are attempt ids has one for each.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(answer, Mapping) and answer and set(answer) <= set(parked):
        return {attempt_id: one_answer(value) for attempt_id, value in answer.items()}
    return {attempt_id: one_answer(answer) for attempt_id in parked}


def one_answer(answer: Any) -> Feedback:
    """Return one person's word as feedback; text alone is a remark without a verdict."""
    if isinstance(answer, str):
        return Feedback(text=answer)
    try:
        return Feedback.model_validate(dict(answer)) if isinstance(answer, Mapping) else judgement(answer)
    except (ValidationError, ValueError) as error:
        raise ConfigError(
            f"a person's answer cannot be read: {error}.",
            hint="Resume with true, false, a text, or fields of a Feedback, as in {'verdict': 'pass'}.",
        ) from error
