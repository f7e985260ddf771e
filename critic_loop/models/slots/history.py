"""Which binding holds for which attempt: all bindings of each slot, and what had begun when each was made.

Knows slots, ids of trees and attempts, and the order of what happened. Does not know locks, event loops or
calls: the switchboard, whose lock its callers hold, knows those (`slots.switchboard`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from critic_loop.core.records import tree_of
from critic_loop.models.slots.bindings import Binding, When


@dataclass(frozen=True, slots=True)
class _Entry:
    """A binding, the moment from which it holds, and for what."""

    binding: Binding
    moment: int
    when: When


@dataclass(slots=True)
class _Started:
    """The moments at which a tree and its running attempts began, and the attempts that have ended."""

    moment: int
    attempts: dict[str, int] = field(default_factory=dict[str, int])
    ended: set[str] = field(default_factory=set[str])


class BindingHistory:
    """The bindings of all slots in the order in which they were made, and the trees that are running."""

    def __init__(self) -> None:
        """Begin without bindings and trees."""
        self._moments = itertools.count(1)
        self._entries: dict[str, list[_Entry]] = {}
        self._started: dict[str, _Started] = {}
        self._pins: dict[tuple[str, str, str], _Entry] = {}

    def __contains__(self, slot: str) -> bool:
        return slot in self._entries

    # -- bindings ------------------------------------------------------------------------------

    def reset(self, slot: str, binding: Binding) -> None:
        """Let a binding hold for every call of a slot, and forget the slot's earlier ones."""
        self._entries[slot] = [_Entry(binding, 0, "call")]

    def append(self, slot: str, binding: Binding, when: When) -> None:
        """Let a binding hold for what begins from now on: calls, attempts or trees."""
        self._entries[slot].append(_Entry(binding, next(self._moments), when))

    def pin(self, slot: str, tree: str, attempt: str, binding: Binding) -> None:
        """Let an attempt, or a tree where `attempt` is empty, keep a binding until a later one holds for it."""
        self._pins[slot, tree, attempt] = _Entry(binding, next(self._moments), "call")

    def latest(self, slot: str) -> Binding:
        """Return the newest binding of a slot that has one."""
        return self._entries[slot][-1].binding

    def latest_of_all(self) -> dict[str, Binding]:
        """Return the newest binding by slot."""
        return {slot: entries[-1].binding for slot, entries in self._entries.items()}

    def bindings(self) -> Iterator[tuple[str, Binding]]:
        """Iterate over all bindings with their slots, pins left out."""
        for slot, entries in self._entries.items():
            for entry in entries:
                yield slot, entry.binding

    def pinned(self) -> list[Binding]:
        """Return the bindings that are pinned."""
        return [pin.binding for pin in self._pins.values()]

    def next_revision(self, slot: str) -> int:
        """Return a number above those of a slot's bindings and pins."""
        pinned = [pin.binding.revision for key, pin in self._pins.items() if key[0] == slot]
        return max([self.latest(slot).revision, *pinned]) + 1

    # -- trees and attempts --------------------------------------------------------------------

    def begin(self, tree: str, attempt: str) -> None:
        """Note that a tree, and one of its attempts if one is given, has begun; once is enough."""
        if not tree:
            return
        started = self._started.get(tree)
        if started is None:
            started = self._started[tree] = _Started(next(self._moments))
        if attempt and attempt not in started.attempts and attempt not in started.ended:
            started.attempts[attempt] = next(self._moments)

    def settle(self, attempt: str) -> bool:
        """Note that an attempt has ended; return whether it was running."""
        started = self._started.get(tree_of(attempt))
        if started is None or started.attempts.pop(attempt, None) is None:
            return False
        started.ended.add(attempt)
        return True

    def forget(self, tree: str) -> None:
        """Forget a tree that has ended, and its pins."""
        self._started.pop(tree, None)
        for key in [key for key in self._pins if key[1] == tree]:
            del self._pins[key]

    # -- which holds ---------------------------------------------------------------------------

    def effective(self, slot: str, tree: str, attempt: str) -> Binding:
        """Return the newest binding that holds for a call; an attempt that has ended counts as none."""
        started = self._started.get(tree)
        if started is not None and attempt in started.ended:
            attempt = ""
        return self._effective(slot, tree, attempt, started)

    def reached(self, slot: str) -> Iterator[Binding]:
        """Iterate over the bindings that calls of the running trees and attempts would get."""
        for tree, started in self._started.items():
            for attempt in ("", *started.attempts):
                yield self._effective(slot, tree, attempt, started)

    def _effective(self, slot: str, tree: str, attempt: str, started: _Started | None) -> Binding:
        """Go from the newest binding back to one that holds, at most to the one that is pinned."""
        pin = self._pins.get((slot, tree, attempt)) or self._pins.get((slot, tree, ""))
        for entry in reversed(self._entries[slot]):
            if pin is not None and entry.moment < pin.moment:
                return pin.binding
            if _holds(entry, started, attempt):
                return entry.binding
        return self._entries[slot][0].binding


def _holds(entry: _Entry, started: _Started | None, attempt: str) -> bool:
    """Return whether a binding holds for a call, by what had begun when it was made."""
    if entry.when == "call" or started is None:
        return True
    if entry.when == "attempt":
        return not attempt or started.attempts[attempt] > entry.moment
    return started.moment > entry.moment
