"""What a server answers, before it has a wire format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from critic_loop.core.messages import ToolCall

Body: TypeAlias = dict[str, Any]
"""A JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token of a prompt or an answer."""

    text: str
    id: int | None = None
    logprob: float | None = None
    """Natural logarithm of its probability, at most 0."""
    rank: int | None = None
    """Its place among all tokens by probability; 1 is the likeliest."""
    top: tuple[tuple[str, float], ...] = ()
    """The likeliest tokens in its place, with their log-probabilities, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One choice of an answer."""

    text: str | None = None
    tokens: tuple[Token, ...] = ()
    """Of `text`, where they are known."""
    reasoning: str = ""
    signature: str = ""
    """Of `reasoning`, as Anthropic's endpoint gives one."""
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    """In OpenAI's words: `stop`, `length`, `tool_calls`, `content_filter`."""

    def pieces(self) -> Sequence[Token]:
        """Return the text in the pieces that a stream sends: its tokens, else its words."""
        return self.tokens or [Token(text=piece) for piece in words_of(self.text or "")]


def words_of(text: str) -> list[str]:
    """Return the words of a text, each with the white space before it; joined, they are the text."""
    return re.findall(r"\s*\S+|\s+", text)


def arguments_in_pieces(arguments: str) -> list[str]:
    """Return the JSON text of a tool's arguments in the pieces that a stream sends."""
    return [arguments[start : start + 8] for start in range(0, len(arguments), 8)]
