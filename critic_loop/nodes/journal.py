"""Where records go: in order to the tree, the store and the listener.

Knows records and their order. Does not know what is sent to models (`nodes.caller`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from critic_loop.core.protocols import Delta, Store
from critic_loop.core.records import Ask, Call, Event, Record, Reply
from critic_loop.core.tree import Tree
from critic_loop.nodes.slots import Change, Slots


@dataclass(kw_only=True)
class Journal:
    """All records of a tree that is being written are appended through it."""

    tree: Tree
    store: Store
    slots: Slots
    now: Callable[[], float] = time.time
    """Seconds since the epoch."""
    notify: Callable[[Record | Delta], None] = field(default=lambda _: None)
    """Called with every record; `Loop.stream` yields what it gets."""
    price: Callable[[Call, Reply], float | None] = field(default=lambda call, reply: None)  # noqa: ARG005
    """What a call cost in US dollars; None where the price is unknown."""
    cost_usd: float | None = None
    """Of all calls so far; None as soon as the price of one of them is unknown."""
    _noted: deque[Event] = field(default_factory=deque[Event], init=False)
    _billed: bool = field(default=False, init=False)

    async def record(self, *records: Record, durable: bool = False) -> None:
        """Append noted events, then `records`, to the tree and to the store, in this order."""
        noted = self._taken()
        for record in (*noted, *records):
            self.tree.append(record)
            self.notify(record)
            if record.type == "reply":
                self.bill(record)
        if noted or records or durable:
            await self.store.append(self.tree.id, *noted, *records, durable=durable)

    async def begin(self, *asks: Ask, fold: Callable[[Ask], None]) -> None:
        """Announce attempts and append their asks: after earlier swaps, and before all later ones.

        Args:
            asks: of the new attempts.
            fold: called with each ask as soon as it is in the tree.
        """
        noted: list[Event] = []
        self.slots.begin(*(ask.attempt for ask in asks), then=lambda: noted.extend(self._taken()))
        for event in noted:
            self.tree.append(event)
        for ask in asks:
            self.tree.append(ask)
            fold(ask)
        await self.store.append(self.tree.id, *noted, *asks, durable=False)
        for record in (*noted, *asks):
            self.notify(record)

    async def flush(self) -> None:
        """Return when all records are on disk; called before a tool runs or a person is asked."""
        await self.store.append(self.tree.id, durable=True)

    def bill(self, reply: Reply) -> None:
        """Add what a call cost to what was spent."""
        cost = self.price(self.tree.calls[reply.call], reply)
        known = self.cost_usd if self._billed else 0.0
        self.cost_usd = None if cost is None or known is None else known + cost
        self._billed = True

    def note(self, change: Change) -> None:
        """Record a change of bindings before the next record; may be called from any thread."""
        self._noted.append(Event(kind=change.kind, at=self.now(), text=change.text, data=change.data))

    def at(self) -> float:
        """Return the time as records hold it, in seconds to the millisecond."""
        return round(self.now(), 3)

    def _taken(self) -> list[Event]:
        return [self._noted.popleft() for _ in range(len(self._noted))]
