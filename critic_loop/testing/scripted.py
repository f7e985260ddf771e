"""A model with scripted replies, for tests.

Knows the `Model` protocol. Uses no network, no wire format, and no clock but asyncio's.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, cast

from critic_loop.core.errors import DeadlineExceeded, ModelError
from critic_loop.core.messages import Message, Reasoning, Text, ToolCall, ToolResult, assistant
from critic_loop.core.protocols import Completion, Request
from critic_loop.core.records import Choice, Usage

Answer: TypeAlias = str | Message | Choice | Completion | Exception
"""One reply: text, a message, a choice, a whole completion, or an error to raise."""

Answers: TypeAlias = Answer | Sequence[str | Message | Choice]
"""An `Answer`, or a sequence with an entry for each choice of a request."""

Handler: TypeAlias = Callable[[Request], Answers | Awaitable[Answers]]
"""A function from a request to its answers, sync or async."""


class OutOfReplies(ModelError):
    """A scripted model has no reply left: the script is too short, or the loop calls too often."""

    scope = "job"


class ScriptedModel:
    """A `Model` with scripted replies that keeps the requests it got.

    A list of replies is used in the order in which calls begin, one reply per choice, so concurrent calls are
    deterministic. A `Completion`, an exception, a sequence, or the result of a function answers all choices of
    a request at once.
    """

    def __init__(
        self,
        replies: Sequence[Answers] | Handler,
        *,
        spec: str = "scripted",
        cycle: bool = False,
        latency_s: float | Callable[[Request], float] = 0.0,
    ) -> None:
        """Set the script.

        Args:
            replies: a list of answers, or a function from a request to an answer.
            spec: the name in records.
            cycle: after the last reply, start again with the first.
            latency_s: the duration of each call in seconds (`asyncio.sleep`), or a function of the request.

        Raises:
            TypeError: `replies` is a string.
        """
        if isinstance(replies, str):
            raise TypeError("replies must be a list of strings, not one string")
        self._handler = replies if callable(replies) else None
        self._script: tuple[Answers, ...] = () if callable(replies) else tuple(replies)
        self._spec = spec
        self._cycle = cycle
        self._latency_s = latency_s
        self._next = itertools.count()
        self.requests: list[Request] = []
        """All requests in the order of arrival, including those that failed."""

    def __repr__(self) -> str:
        kind = "a function" if self._handler else f"{len(self._script)} replies"
        return f"ScriptedModel({kind}, spec={self._spec!r})"

    @property
    def spec(self) -> str:
        """The name in records."""
        return self._spec

    async def complete(self, request: Request) -> Completion:
        """Return the scripted reply to a request.

        Raises:
            OutOfReplies: the script has no reply left.
            DeadlineExceeded: the scripted latency is longer than the request's timeout.
            Exception: the scripted reply is an exception.
        """
        self.requests.append(request)
        scripted = None if self._handler else self._take(request)
        await self._sleep(request)
        answers = await self._handled(request) if scripted is None else scripted
        completion = _completion(answers, request, self._spec)
        if request.on_text is not None:
            for piece in re.findall(r"\s*\S+|\s+", completion.text):
                request.on_text(piece)
        return completion

    async def aclose(self) -> None:
        """Do nothing: a scripted model needs no release."""

    def _take(self, request: Request) -> Answers:
        """Return the answer to a request: one reply for all choices, or one per choice."""
        first = self._reply()
        if request.choices == 1 or not isinstance(first, str | Message | Choice):
            return first
        rest = [self._reply() for _ in range(request.choices - 1)]
        for reply in rest:
            if not isinstance(reply, str | Message | Choice):
                raise TypeError(
                    f"the script has a {type(reply).__name__} where a text, a message or a choice is expected: "
                    f"the request has {request.choices} choices"
                )
        return [first, *cast("list[str | Message | Choice]", rest)]

    def _reply(self) -> Answers:
        index = next(self._next)
        if self._cycle and self._script:
            index %= len(self._script)
        if index >= len(self._script):
            raise OutOfReplies(
                f"scripted model {self._spec!r} has {len(self._script)} replies, "
                f"but was asked for reply {index + 1}.",
                hint="Script more replies, pass cycle=True or a function, or limit the loop's rounds.",
            )
        return self._script[index]

    async def _handled(self, request: Request) -> Answers:
        assert self._handler is not None
        answers = self._handler(request)
        return await answers if inspect.isawaitable(answers) else answers

    async def _sleep(self, request: Request) -> None:
        latency_s = self._latency_s(request) if callable(self._latency_s) else self._latency_s
        if request.timeout_s is not None and latency_s > request.timeout_s:
            await asyncio.sleep(request.timeout_s)
            raise DeadlineExceeded(
                f"scripted model {self._spec!r} did not answer within {request.timeout_s:g} s."
            )
        if latency_s > 0:
            await asyncio.sleep(latency_s)


def _completion(answers: Answers, request: Request, spec: str) -> Completion:
    if isinstance(answers, Exception):
        raise answers
    if isinstance(answers, Completion):
        return answers
    if isinstance(answers, str | Message | Choice):
        answers = [answers] * request.choices
    if len(answers) != request.choices:
        raise ValueError(f"the script has {len(answers)} answers for a request with {request.choices} choices")
    choices = tuple(_choice(answer) for answer in answers)
    written = [choice.message for choice in choices]
    usage = Usage(input_tokens=count_tokens(request.messages), output_tokens=count_tokens(written))
    return Completion(choices=choices, usage=usage, model=spec)


def _choice(answer: str | Message | Choice) -> Choice:
    if isinstance(answer, Choice):
        return answer
    message = assistant(answer, sampled=True) if isinstance(answer, str) else answer
    if not message.sampled:
        message = message.model_copy(update={"sampled": True})
    return Choice(message=message, finish_reason="tool_calls" if message.tool_calls else "stop")


def count_tokens(messages: Sequence[Message]) -> int:
    """Return the number of words in the messages, which test doubles report as tokens."""
    return sum(len(_words(part).split()) for message in messages for part in message.parts)


def _words(part: object) -> str:
    match part:
        case Text() | Reasoning() | ToolResult():
            return part.text
        case ToolCall():
            return f"{part.name} {part.arguments_text or part.arguments}"
        case _:
            return "blob"
