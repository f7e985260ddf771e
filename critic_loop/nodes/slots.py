"""The switchboard as nodes use it: slots, their bindings for one call, and changes of bindings.

Protocols only. `models.slots.switchboard` implements them; `graph` passes it in.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Protocol

from pydantic import JsonValue

from critic_loop.core.errors import CriticLoopError
from critic_loop.core.protocols import Model
from critic_loop.core.records import EventKind


class Change(Protocol):
    """A change of bindings that is recorded in trees: a swap, a fallback, a breaker."""

    kind: ClassVar[EventKind]

    @property
    def text(self) -> str:
        """The text for people."""
        ...

    @property
    def data(self) -> dict[str, JsonValue]:
        """The facts."""
        ...


class FallbackCursor(Protocol):
    """One call's way through what a slot is bound to: a model, and those that are asked where it fails."""

    @property
    def model(self) -> Model:
        """Who is asked now."""
        ...

    @property
    def retries(self) -> int | None:
        """How often the same may be sent to it again."""
        ...

    @property
    def rejects(self) -> bool:
        """Whether an answer that cannot be used is a failure, because another can be asked."""
        ...

    def answered(self) -> None:
        """Take note that it answered."""
        ...

    def failed(self, error: CriticLoopError) -> Change | None:
        """Take note that it failed and go on to the next, or return None: the error stands."""
        ...

    def left(self) -> None:
        """Take note that the call ended in another way."""
        ...


class SlotLease(Protocol):
    """A slot's binding, held for one call."""

    @property
    def revision(self) -> int:
        """How often the slot was bound anew."""
        ...

    @property
    def cursor(self) -> FallbackCursor:
        """Who is asked, and who after them."""
        ...


class Slots(Protocol):
    """The switchboard, as nodes use it."""

    def lease(self, slot: str, *, tree: str = "", attempt: str = "") -> AbstractAsyncContextManager[SlotLease]:
        """Hold the slot's binding for one call."""
        ...

    def begin(self, *attempts: str, then: Callable[[], object] = ...) -> None:
        """Announce attempts: they keep their bindings until they have settled, whatever is swapped for others.

        `then` is called before anything else is swapped, in whatever thread.
        """
        ...

    def settled(self, attempt: str) -> None:
        """Take note that an attempt has ended."""
        ...
