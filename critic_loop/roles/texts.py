"""Records as texts and template variables for prompts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import to_json

from critic_loop.assets import Word, word
from critic_loop.core.messages import ContentPart, Message
from critic_loop.core.records import Attempt, Feedback, Task
from critic_loop.core.view import View


def feedback_values(feedback: Feedback) -> dict[str, Any]:
    """Return a feedback as template variables: names as `Word`, all other text unfenced yet."""
    return {
        "source": Word(feedback.source),
        "author": word(feedback.author),
        "verdict": _verdict(feedback.verdict),
        "score": feedback.score,
        "text": feedback.text,
        "suggestion": feedback.suggestion,
        "first_error": feedback.first_error,
        "steps": [{"index": s.index, "verdict": _verdict(s.verdict), "text": s.text} for s in feedback.steps],
        "rubric": [
            {"name": c.name, "verdict": _verdict(c.verdict), "score": c.score, "text": c.text}
            for c in feedback.rubric
        ],
    }


def transcript(view: View[Any], names: tuple[str, str], rounds: int | None = None) -> list[dict[str, Any]]:
    """Return the arguments for the two attempts of `view.pair` as template variables, round by round.

    Args:
        view: a judge's or debater's.
        names: of the two attempts in the prompt, in the order of the pair.
        rounds: how many rounds are shown; None = all.
    """
    first, second = (attempt.id for attempt in view.pair)
    both = zip(arguments(view.feedback, first, second), arguments(view.feedback, second, first), strict=False)
    return [
        {"side": Word(side), "argument": argument.text}
        for each in list(both)[:rounds]
        for side, argument in zip(names, each, strict=True)
    ]


def arguments(feedback: Iterable[Feedback], mine: str, theirs: str) -> list[Feedback]:
    """Return those that argue for `mine` against `theirs`, a feedback for each round, oldest first."""
    return [f for f in feedback if f.subject is not None and f.subject.attempts == (mine, theirs)]


def _verdict(verdict: object) -> Word | None:
    return None if verdict is None else Word(str(verdict))


def answer_text(attempt: Attempt) -> str:
    """Return an attempt as text: the actor's last message, else its answer as JSON."""
    written = next((m.text for m in reversed(attempt.messages) if m.role == "assistant" and m.text), "")
    return written or plain_text(attempt.answer)


def plain_text(value: Any) -> str:
    """Return text as it is and anything else as JSON."""
    return value if isinstance(value, str) else to_json(value).decode()


def with_blobs(message: Message, task: Task) -> Message:
    """Return `message` with the task's images and files after its text."""
    blobs: tuple[ContentPart, ...] = tuple(b for m in task.prompt for b in m.blobs)
    return message.model_copy(update={"parts": (*message.parts, *blobs)}) if blobs else message
