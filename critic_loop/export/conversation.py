"""The prompt that a model was sent for an attempt or a feedback, and the messages that came of it.

Knows how calls relate to attempts and feedback. Does not know any target format.
"""

from __future__ import annotations

from dataclasses import dataclass

from critic_loop.core.messages import Message
from critic_loop.core.records import Attempt, Feedback
from critic_loop.core.tree import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A prompt and the messages that were written in reply."""

    prompt: tuple[Message, ...]
    written: tuple[Message, ...]

    @property
    def sampled(self) -> bool:
        """Whether a model wrote the reply: its last message is an assistant's and was sampled."""
        return bool(self.written) and self.written[-1].role == "assistant" and self.written[-1].sampled


def of_attempt(tree: Tree, attempt: Attempt) -> Exchange:
    """Return the exchange that produced `attempt`.

    The prompt is the request of the last call whose reply is the attempt's last message; without such a call,
    the task's prompt. Where a call also sent the attempt's earlier messages (tool calls and results), they are
    in `written`.
    """
    for call_id in reversed(attempt.calls):
        call, reply = tree.calls.get(call_id), tree.replies.get(call_id)
        if call is None or reply is None or not attempt.messages:
            continue
        if not any(choice.message == attempt.messages[-1] for choice in reply.choices):
            continue
        before = len(attempt.messages) - 1
        prompt = call.request[: len(call.request) - before]
        if call.request[len(prompt) :] == attempt.messages[:-1]:
            return Exchange(prompt=prompt, written=attempt.messages)
        return Exchange(prompt=call.request, written=attempt.messages[-1:])
    return Exchange(prompt=tree.task.prompt, written=attempt.messages)


def of_feedback(tree: Tree, feedback: Feedback) -> Exchange | None:
    """Return the exchange that `feedback` was parsed from; None if no call wrote it (functions, scoring)."""
    for call_id in reversed(feedback.calls):
        call, reply = tree.calls.get(call_id), tree.replies.get(call_id)
        if call is not None and reply is not None and reply.choices and not call.score:
            return Exchange(prompt=call.request, written=(reply.choices[0].message,))
    return None
