"""Bindings of slots, leases of them, and swaps: data of the switchboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from pydantic import JsonValue

from critic_loop.core.protocols import Model
from critic_loop.core.records import EventKind
from critic_loop.models.slots.routes import Route
from critic_loop.models.wrappers.breaker import BreakerEvent
from critic_loop.models.wrappers.fallback import FallbackCursor

When: TypeAlias = Literal["call", "attempt", "tree"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a slot is bound to."""

    route: Route
    revision: int
    """Counts a slot's bindings from 0."""

    @property
    def spec(self) -> str:
        """The route as one string."""
        return self.route.spec

    @property
    def model(self) -> Model:
        """The first candidate of the first share."""
        return self.route.chains[0].candidates[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotLease:
    """A binding held for one call, and the call's place among the candidates."""

    binding: Binding
    cursor: FallbackCursor

    @property
    def revision(self) -> int:
        """The binding's."""
        return self.binding.revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A slot was bound to another model; fields as they go into an event's data."""

    slot: str
    old: str
    new: str
    old_revision: int
    revision: int
    """The new binding's."""
    when: When

    kind: ClassVar[EventKind] = "swap"

    @property
    def text(self) -> str:
        """The event in one line."""
        return f"{self.slot}: {self.old} -> {self.new}"

    @property
    def data(self) -> dict[str, JsonValue]:
        """The fields."""
        return {
            "slot": self.slot, "old": self.old, "new": self.new,
            "old_revision": self.old_revision, "revision": self.revision, "when": self.when,
        }  # fmt: skip


Change: TypeAlias = Swap | BreakerEvent
"""What subscribers are called with."""
