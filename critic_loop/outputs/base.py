"""What a parser is: a model's message in, a typed value or a reason out.

Knows the protocols for answers and for critiques. Does not know prompts, models or trees, and no
parser ever raises because of what a model wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from pydantic import JsonValue

from critic_loop.core.messages import Message
from critic_loop.core.protocols import OutputSchema
from critic_loop.core.records import Feedback, ParseStatus

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T_co]):
    """A typed value, or why there is none."""

    value: T_co | None
    status: ParseStatus = "ok"
    """`repaired`: characters had to be changed or guessed; `unparsed`: there is no value."""
    reason: str = ""
    """What was wrong and what was expected, short enough to be shown to the actor."""

    @classmethod
    def unparsed(cls, reason: str) -> Parsed[T_co]:
        """Return the absence of a value."""
        return cls(None, "unparsed", reason)

    @property
    def found(self) -> bool:
        """Whether there is a value (which may be None for types that allow it)."""
        return self.status in ("ok", "repaired")


@runtime_checkable
class Output(Protocol[T]):
    """How an actor's message becomes an answer of type `T`."""

    @property
    def name(self) -> str:
        """The name in specs and records, as in `code:python`."""
        ...

    @property
    def schema(self) -> OutputSchema | None:
        """What an endpoint can be made to follow; None if there is nothing to follow."""
        ...

    def parse(self, message: Message) -> Parsed[T]:
        """Return the value that `message` holds. Raises nothing, whatever the text."""
        ...

    def dump(self, value: T) -> JsonValue:
        """Return `value` as it stands in `Attempt.answer`."""
        ...

    def load(self, answer: JsonValue) -> T:
        """Return the value that `dump` made `answer` of.

        Raises:
            OutputError: it does not fit (it was written under another schema).
        """
        ...

    def describe(self) -> str:
        """Return the JSON Schema as text for a template's `schema`, or "" if none applies."""
        ...


@runtime_checkable
class CritiqueOutput(Protocol):
    """How a critic's or judge's message becomes feedback."""

    @property
    def name(self) -> str:
        """The name in specs and records, as in `verdict`."""
        ...

    @property
    def schema(self) -> OutputSchema | None:
        """What an endpoint can be made to follow; None if there is nothing to follow."""
        ...

    def parse(self, message: Message) -> Feedback:
        """Return feedback without id, subject, author and calls, which only the caller knows.

        Raises nothing: what cannot be read is ABSTAIN with `parse="unparsed"` and the reason, never
        a score and never accepted.
        """
        ...

    def describe(self) -> str:
        """Return the JSON Schema as text for a template's `schema`, or "" if none applies."""
        ...


def visible(text: str) -> str:
    """Return `text` without the inline thinking that some servers leave in front of the answer."""
    _, closed, after = text.rpartition("</think>")
    if closed:
        return after
    return "" if text.lstrip().startswith("<think>") else text


def clipped(text: str, length: int) -> str:
    """Return `text` on one line, cut to `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
