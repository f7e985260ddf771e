"""Which attempts wait for people, and how people's answers are read and written down.

Knows sessions and their people. Does not know a host (`graph.interrupts`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from pydantic import JsonValue, ValidationError

from critic_loop.core.errors import CriticLoopError, NoSuchAttempt, NotAwaited, UnreadableResponse
from critic_loop.core.functions import feedback_from
from critic_loop.core.records import Event, Feedback, tree_of
from critic_loop.graph.result import Waiting
from critic_loop.graph.session import Session
from critic_loop.nodes.stages import awaited
from critic_loop.roles.texts import answer_text

_CONTENT = (
    "verdict", "score", "text", "suggestion", "steps", "first_error", "spans", "boxes", "rubric", "data",
    "reason",
)  # fmt: skip
"""Fields of a Feedback of which an answer has at least one."""
_ACCEPTED = "Respond with true, false, a text, or fields of a Feedback, as in {'verdict': 'pass'}."


def waiting_in(session: Session) -> tuple[Waiting, ...]:
    """Return the attempts of a tree that wait for a person's answer."""
    return tuple(waiting_for(session, attempt_id) for attempt_id in session.parked())


def waiting_for(session: Session, attempt_id: str) -> Waiting:
    """Return what a person is shown of an attempt, and who is asked about it."""
    attempt, people = session.tree[attempt_id], awaited(session.run, attempt_id)
    return Waiting(
        attempt_id=attempt_id,
        answer=attempt.answer,
        text=answer_text(attempt),
        asked=tuple(human.name for human in people),
        question=people[0].question if people else "",
    )


async def respond(session: Session, answer: Any) -> None:
    """Write down what a caller answers about the attempts that wait.

    Raises:
        UnreadableResponse: the answer cannot be read, or is empty.
        NotAwaited: no attempt waits for it.
        NoSuchAttempt: it names an attempt that the tree does not have.
    """
    async with session.answering:
        waiting = session.parked()
        if not waiting and not _is_by_attempt(answer):
            raise NotAwaited(
                f"tree {session.tree.id!r} waits for no answer.",
                hint="store.add_feedback(attempt_id, ...) adds feedback that nothing waits for.",
            )
        await write_down(session, answers_in(answer, waiting, session.tree.asks), {"by": "caller"})


async def write_down(session: Session, answers: Mapping[str, Feedback], data: Mapping[str, JsonValue]) -> None:
    """Add answers to their attempts, all or none, and an event with `data`.

    An attempt that waits goes on; for one that waits no more the answer is later feedback.

    Raises:
        NotAwaited: an answer's author is one of the loop's people, and has answered already.
    """
    people = {attempt_id: session.person(attempt_id, answers[attempt_id].author) for attempt_id in answers}
    for attempt_id, human in people.items():
        await session.respond(attempt_id, answers[attempt_id], human)
    await session.record(Event(kind="resume", at=session.now(), data=dict(data)), durable=True)


def answers_in(answer: Any, asked: Sequence[str], known: Container[str]) -> dict[str, Feedback]:
    """Return feedback by attempt from what a person answered.

    A bool, number, text, Feedback or mapping of its fields is about all attempts of `asked`; a mapping whose
    keys are attempt ids has one of these for each.

    Args:
        answer: what was answered.
        asked: the attempts that the question was about.
        known: all attempts of the tree.

    Raises:
        UnreadableResponse: it is none of these, or empty.
        NoSuchAttempt: it names an attempt that is not known.
        NotAwaited: it names an attempt that was not asked about.
    """
    if not _is_by_attempt(answer):
        return {attempt_id: _about(attempt_id, answer) for attempt_id in asked}
    for attempt_id in answer:
        _require_asked(str(attempt_id), asked, known)
    return {str(attempt_id): _about(str(attempt_id), given) for attempt_id, given in answer.items()}


def _is_by_attempt(answer: Any) -> bool:
    """Whether the keys are attempt ids: these have a dot, which no field's name has."""
    return isinstance(answer, Mapping) and any("." in str(key) for key in answer)


def _require_asked(attempt_id: str, asked: Sequence[str], known: Container[str]) -> None:
    waits = f"These wait: {', '.join(asked)}." if asked else "None waits."
    if attempt_id not in known:
        raise NoSuchAttempt(
            f"the answer names attempt {attempt_id!r}, which the tree does not have.", hint=waits
        )
    if attempt_id not in asked:
        raise NotAwaited(
            f"attempt {attempt_id!r} of tree {tree_of(attempt_id)!r} waits for no answer (any more).",
            hint=f"{waits} store.add_feedback({attempt_id!r}, ...) adds feedback that nothing waits for.",
        )


def _about(attempt_id: str, answer: Any) -> Feedback:
    """Return a person's answer as feedback if it is about this attempt alone, and not empty.

    Raises:
        UnreadableResponse: it is not.
    """
    try:
        feedback = _feedback(answer)
    except (ValidationError, ValueError, CriticLoopError) as error:
        raise _unreadable(attempt_id, _reason(error)) from error
    named = feedback.subject
    if (named is not None and named.attempts != (attempt_id,)) or feedback.supersedes or feedback.rests_on:
        raise UnreadableResponse(
            f"the answer about attempt {attempt_id!r} cannot be read: it is not about this attempt alone.",
            hint="Leave out subject, supersedes and rests_on; store.add_feedback takes the rest.",
        )
    if not any(_has_content(getattr(feedback, name)) for name in _CONTENT):
        raise _unreadable(attempt_id, "it is empty")
    return feedback


def _feedback(answer: Any) -> Feedback:
    """Return an answer as feedback; text alone is a remark without a verdict."""
    if isinstance(answer, str):
        return Feedback(text=answer)
    fields = answer if isinstance(answer, Mapping) else {} if answer is None else dict(feedback_from(answer))
    return Feedback.model_validate(dict(fields))


def _has_content(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) and type(value) is str else value not in (None, (), {})


def _unreadable(attempt_id: str, reason: str) -> UnreadableResponse:
    return UnreadableResponse(
        f"the answer about attempt {attempt_id!r} cannot be read: {reason}.", hint=_ACCEPTED
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return (error.message if isinstance(error, CriticLoopError) else str(error)).rstrip(".")
