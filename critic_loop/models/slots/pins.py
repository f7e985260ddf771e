"""Bindings that a stored tree, or attempts of it, keep when it is resumed.

Knows swap events. A swap for attempts or trees leaves what had begun on what it had; this is read from the
log again when the tree is resumed. Everything else gets the current binding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import JsonValue

from critic_loop.core.errors import AssetError, ConfigError
from critic_loop.core.records import Ask, Event, EventKind
from critic_loop.core.tree import Tree
from critic_loop.models.slots.switchboard import Switchboard


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """An attempt, or where `attempt` is empty a tree, and the binding that it keeps."""

    slot: str
    attempt: str = ""
    revision: int
    spec: str


@dataclass(frozen=True, slots=True)
class Rebound:
    """A resumed tree continues with another model than before; fields as they go into an event's data."""

    slot: str
    old: str
    new: str
    revision: int
    why: str

    kind: ClassVar[EventKind] = "swap"

    @property
    def text(self) -> str:
        """The event in one line."""
        return f"{self.slot}: {self.old} -> {self.new} ({self.why})"

    @property
    def data(self) -> dict[str, JsonValue]:
        """The facts."""
        return {
            "slot": self.slot,
            "old": self.old,
            "new": self.new,
            "revision": self.revision,
            "when": "resume",
        }


def pins_in(tree: Tree) -> list[Pin]:
    """Return what the attempts of a tree, and those to come, keep."""
    pins: dict[tuple[str, str], Pin] = {}
    asked: list[str] = []
    for record in tree.log:
        if isinstance(record, Ask):
            asked.append(record.attempt)
        elif isinstance(record, Event) and record.kind == "swap":
            _swapped(pins, record, asked)
    return list(pins.values())


def _swapped(pins: dict[tuple[str, str], Pin], event: Event, asked: list[str]) -> None:
    """Apply one swap to the pins so far; `asked` are the attempts that had begun."""
    data = event.data
    slot, when, whole = str(data["slot"]), data["when"], pins.get((str(data["slot"]), ""))
    if when == "resume":
        return
    old = (int(str(data["old_revision"])), str(data["old"]))
    if when == "call":
        for key in [key for key in pins if key[0] == slot]:
            del pins[key]
    elif when == "attempt":
        revision, spec = old if whole is None else (whole.revision, whole.spec)
        for attempt in asked:
            pins.setdefault((slot, attempt), Pin(slot=slot, attempt=attempt, revision=revision, spec=spec))
        pins.pop((slot, ""), None)
    elif when == "tree" and (whole is None or not asked):
        # A tree that had not begun at the time of the swap began with the new one.
        revision, spec = old if asked else (int(str(data["revision"])), str(data["new"]))
        pins[slot, ""] = Pin(slot=slot, revision=revision, spec=spec)


def restore(board: Switchboard, tree: Tree, going_on: Sequence[str]) -> list[Rebound]:
    """Announce the attempts of a resumed tree that continue, and pin them and the tree as in its log.

    Returns:
        What has changed: slots bound to another model than that of their last call, and pins that cannot be
        kept, because their model cannot be created here or was drained.
    """
    found: list[Rebound] = []
    wanted = {"", *going_on}
    pins = [pin for pin in pins_in(tree) if pin.attempt in wanted and board.is_bound(pin.slot)]
    for pin in pins:
        now = board.binding(pin.slot)
        try:
            kept = board.restore(tree.id, pin.attempt, pin.slot, pin.revision, pin.spec)
        except (ConfigError, AssetError) as error:
            found.append(Rebound(pin.slot, pin.spec, now.spec, now.revision, error.message))
        else:
            if kept.revision != pin.revision:
                found.append(Rebound(pin.slot, pin.spec, now.spec, now.revision, "it was drained"))
    for attempt in going_on:
        board.begin(attempt)
    whole = {pin.slot for pin in pins if not pin.attempt}
    return [*found, *(one for one in _bound_anew(board, tree) if one.slot not in whole)]


def _bound_anew(board: Switchboard, tree: Tree) -> Iterator[Rebound]:
    last = {call.slot: call for call in tree.calls.values() if call.slot and board.is_bound(call.slot)}
    for slot, call in last.items():
        now = board.binding(slot)
        if call.binding not in {model.spec for model in now.route.models()}:
            yield Rebound(
                slot, call.binding, now.spec, now.revision, "it was rebound when the tree was resumed"
            )
