"""Slots bound to models, and rebound while loops run.

Knows which model a slot has for which attempt. Does not know what is asked, nor trees beyond their
ids. Thread safe; may be used from several event loops.

A swap takes effect from the next call, from the next attempt or from the next tree. An attempt or a
tree has begun when any slot was asked for it; what has begun keeps what it had, for all slots.
"""

from __future__ import annotations

import asyncio
import difflib
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Literal, TypeAlias

from critic_loop.core.errors import ConfigError, Refused
from critic_loop.core.messages import user
from critic_loop.core.protocols import Model, Request
from critic_loop.core.records import Sampling, tree_of
from critic_loop.models.chat import ModelSettings
from critic_loop.models.specs import resolve

When: TypeAlias = Literal["call", "attempt", "tree"]
SettingsBySpec: TypeAlias = Mapping[str, ModelSettings | Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a slot stands for."""

    spec: str
    model: Model
    revision: int
    """Counts a slot's bindings from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A slot was bound to another model; fields as they go into an event's data."""

    slot: str
    old: str
    new: str
    revision: int
    """The new binding's."""
    when: When


@dataclass(frozen=True, slots=True)
class _Turn:
    """A binding, and from what moment on it holds for whom."""

    binding: Binding
    moment: int
    when: When


@dataclass(slots=True)
class _Begun:
    """When a tree and its attempts were first seen."""

    moment: int
    attempts: dict[str, int] = field(default_factory=dict[str, int])


class Switchboard:
    """Binds slots to models; hands each call its binding."""

    def __init__(
        self, *slots: str, settings: SettingsBySpec | None = None, warm_timeout_s: float = 60.0
    ) -> None:
        """Name the slots.

        Args:
            slots: their names; `actor`, `critic` and `judge` unless given.
            settings: by spec, for models that are made from specs.
            warm_timeout_s: how long a new model may take for its first answer in `swap`.
        """
        self.slots = slots or ("actor", "critic", "judge")
        self._settings = settings or {}
        self._warm_timeout_s = warm_timeout_s
        self._lock = RLock()
        self._moments = itertools.count(1)
        self._turns: dict[str, list[_Turn]] = {}
        self._begun: dict[str, _Begun] = {}
        self._pins: dict[tuple[str, str, str], _Turn] = {}
        self._made: dict[str, Model] = {}
        self._in_flight: Counter[tuple[str, int]] = Counter()
        self._drains: list[_Drain] = []
        self._subscribers: list[Callable[[Swap], None]] = []

    def __repr__(self) -> str:
        with self._lock:
            bound = {slot: turns[-1].binding.spec for slot, turns in self._turns.items()}
        return f"Switchboard({bound})"

    # -- binding -------------------------------------------------------------------------------

    def bind(self, slot: str, model: str | Model, *, revision: int = 0) -> Binding:
        """Bind a slot before any call for it, forgetting what it was bound to; no event, no warming.

        Args:
            slot: which.
            model: a spec or a model.
            revision: what to count from: that of the last swap when a tree is resumed.

        Raises:
            ConfigError: unknown slot, or a spec that cannot be resolved.
        """
        self._check(slot)
        made = self._resolved(model)
        binding = Binding(spec=made.spec, model=made, revision=revision)
        with self._lock:
            self._turns[slot] = [_Turn(binding, 0, "call")]
        return binding

    def binding(self, slot: str, *, tree: str = "", attempt: str = "") -> Binding:
        """Return what a slot stands for, for a call of this attempt; notes that the attempt has begun.

        Raises:
            ConfigError: the slot is unknown or not bound.
        """
        tree = tree or tree_of(attempt)
        with self._lock:
            self._latest(slot)
            begun = self._begin(tree, attempt)
            return self._effective(slot, tree, attempt, begun)

    def is_bound(self, slot: str) -> bool:
        """Whether the slot has a model."""
        with self._lock:
            return slot in self._turns

    def restore(self, tree: str, attempt: str, slot: str, revision: int, spec: str) -> Binding:
        """Pin what an earlier process had begun to the binding that its calls were recorded with.

        Args:
            tree: the resumed tree.
            attempt: an attempt of it; empty pins the tree.
            slot: which slot.
            revision: the recorded revision.
            spec: the recorded spec; the slot's own model is used where it is the same.

        Raises:
            ConfigError: the spec cannot be resolved here.
        """
        with self._lock:
            latest = self._latest(slot).binding
            self._begin(tree, attempt)
        model = latest.model if latest.spec == spec else self._resolved(spec)
        binding = Binding(spec=spec, model=model, revision=revision)
        with self._lock:
            self._pins[slot, tree, attempt] = _Turn(binding, next(self._moments), "call")
        return binding

    def forget(self, tree: str) -> None:
        """Drop what is remembered of a tree that has ended."""
        with self._lock:
            self._begun.pop(tree, None)
            for key in [key for key in self._pins if key[1] == tree]:
                del self._pins[key]

    def _check(self, slot: str) -> None:
        if slot not in self.slots:
            near = difflib.get_close_matches(slot, self.slots, n=1)
            guess = f"Did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"There is no slot {slot!r}.", hint=f"{guess}Slots: {', '.join(self.slots)}.")

    def _latest(self, slot: str) -> _Turn:
        self._check(slot)
        if slot not in self._turns:
            raise ConfigError(f"Slot {slot!r} has no model.", hint=f"Bind one, as in {slot}='openai:NAME'.")
        return self._turns[slot][-1]

    def _begin(self, tree: str, attempt: str) -> _Begun | None:
        if not tree:
            return None
        begun = self._begun.get(tree)
        if begun is None:
            begun = self._begun[tree] = _Begun(next(self._moments))
        if attempt and attempt not in begun.attempts:
            begun.attempts[attempt] = next(self._moments)
        return begun

    def _effective(self, slot: str, tree: str, attempt: str, begun: _Begun | None) -> Binding:
        """Return the newest binding that holds for a call, down to the one it is pinned to."""
        pin = self._pins.get((slot, tree, attempt)) or self._pins.get((slot, tree, ""))
        for turn in reversed(self._turns[slot]):
            if pin is not None and turn.moment < pin.moment:
                return pin.binding
            if _holds(turn, begun, attempt):
                return turn.binding
        return self._turns[slot][0].binding

    def _resolved(self, model: str | Model) -> Model:
        """Return the model; each spec is made once, so that slots share connections."""
        if not isinstance(model, str):
            return model
        with self._lock:
            if model not in self._made:
                self._made[model] = resolve(model, settings=self._settings.get(model))
            return self._made[model]

    # -- calls ---------------------------------------------------------------------------------

    def lease(self, slot: str, *, tree: str = "", attempt: str = "") -> AbstractAsyncContextManager[Binding]:
        """Return a context for one call: gives its binding, and counts it as in flight on that."""
        return self._leased(slot, tree, attempt)

    @asynccontextmanager
    async def _leased(self, slot: str, tree: str, attempt: str) -> AsyncGenerator[Binding, None]:
        with self._lock:
            binding = self.binding(slot, tree=tree, attempt=attempt)
            place = (slot, binding.revision)
            self._in_flight[place] += 1
        try:
            yield binding
        finally:
            self._ended(place)

    def _ended(self, place: tuple[str, int]) -> None:
        with self._lock:
            self._in_flight[place] -= 1
            if self._in_flight[place] > 0:
                return
            del self._in_flight[place]
            for drain in [drain for drain in self._drains if drain.place == place]:
                self._drains.remove(drain)
                drain.finish()

    def in_flight(self, slot: str) -> dict[int, int]:
        """Return the number of leased calls by the revision that they run on."""
        with self._lock:
            return {revision: n for (name, revision), n in self._in_flight.items() if name == slot}

    # -- swaps ---------------------------------------------------------------------------------

    async def swap(
        self, slot: str, model: str | Model, *, when: When = "call", warm: bool = True, drain: bool = False
    ) -> Swap:
        """Bind a slot to another model while calls run; those in flight finish on the old one.

        Args:
            slot: which.
            model: a spec or a model.
            when: from the next call, attempt or tree on.
            warm: ask the new model for one token first; if that fails, nothing changes.
            drain: return only when the calls that are in flight on the old model have ended.

        Raises:
            ConfigError: unknown or unbound slot, or a spec that cannot be resolved.
            ModelError: the new model does not answer; the old one stays.
        """
        with self._lock:
            self._latest(slot)
        made = self._resolved(model)
        if warm:
            await self._warm(made)
        with self._lock:
            old = self._latest(slot).binding
            new = Binding(spec=made.spec, model=made, revision=self._next_revision(slot))
            self._turns[slot].append(_Turn(new, next(self._moments), when))
            subscribers = tuple(self._subscribers)
        swap = Swap(slot=slot, old=old.spec, new=new.spec, revision=new.revision, when=when)
        for subscriber in subscribers:
            subscriber(swap)
        if drain:
            await self._drained((slot, old.revision))
        return swap

    def subscribe(self, callback: Callable[[Swap], None]) -> Callable[[], None]:
        """Call `callback` after each swap; return a function that ends this."""
        with self._lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._subscribers:
                    self._subscribers.remove(callback)

        return unsubscribe

    async def aclose(self) -> None:
        """Close the models that were made from specs; those that were handed in belong to their owners."""
        with self._lock:
            made = list(self._made.values())
        for model in made:
            await model.aclose()

    def _next_revision(self, slot: str) -> int:
        pinned = [pin.binding.revision for key, pin in self._pins.items() if key[0] == slot]
        return max([self._turns[slot][-1].binding.revision, *pinned]) + 1

    async def _warm(self, model: Model) -> None:
        canary = Request(
            messages=(user("Say: ok"),), sampling=Sampling(max_tokens=1), timeout_s=self._warm_timeout_s
        )
        try:
            await model.complete(canary)
        except Refused:
            return  # it answers

    async def _drained(self, place: tuple[str, int]) -> None:
        with self._lock:
            if not self._in_flight[place]:
                return
            drain = _Drain(place)
            self._drains.append(drain)
        try:
            await drain.future
        finally:
            with self._lock:
                if drain in self._drains:
                    self._drains.remove(drain)


class _Drain:
    """Somebody who waits for the calls on one binding to end."""

    def __init__(self, place: tuple[str, int]) -> None:
        self.place = place
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()

    def finish(self) -> None:
        """Wake the one who waits, from whatever thread the last call ended in."""
        self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


def _holds(turn: _Turn, begun: _Begun | None, attempt: str) -> bool:
    """Return whether a binding holds for a call, by what had begun when it was made."""
    if turn.when == "call" or begun is None:
        return True
    if turn.when == "attempt":
        return not attempt or begun.attempts[attempt] > turn.moment
    return begun.moment > turn.moment
