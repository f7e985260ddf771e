"""Slots bound to models, and rebound while loops run.

Knows locks, leases, swaps and drains. Does not know which binding holds for which attempt (`slots.history`),
what is asked, or trees beyond their ids. Thread safe; may be used from several event loops.

A swap takes effect from the next call, from the next attempt or from the next tree. An attempt begins when it
is announced or with its first call to any slot, a tree with its first attempt. What has begun keeps its
bindings, for all slots, until it has ended. A binding is drained when nothing that has begun can reach it.
"""

from __future__ import annotations

import asyncio
import difflib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from threading import RLock
from typing import Any, TypeAlias

from critic_loop.core.errors import ConfigError, NoSuchSlot, Refused
from critic_loop.core.messages import user
from critic_loop.core.protocols import Model, Request
from critic_loop.core.records import Sampling, tree_of
from critic_loop.models.client.settings import ModelSettings
from critic_loop.models.providers.specs import resolve
from critic_loop.models.slots.bindings import Binding, Change, SlotLease, Swap, When
from critic_loop.models.slots.history import BindingHistory
from critic_loop.models.slots.routes import Bindable, route_of
from critic_loop.models.wire.health_check import HEALTH_CHECK
from critic_loop.models.wrappers.breaker import Breaker
from critic_loop.models.wrappers.fallback import FallbackCursor
from critic_loop.models.wrappers.prices import Tariff, tariff_of

SettingsBySpec: TypeAlias = Mapping[str, ModelSettings | Mapping[str, Any]]


class Switchboard:
    """Binds slots to models; hands each call its binding."""

    def __init__(
        self,
        *slots: str,
        settings: SettingsBySpec | None = None,
        check: Callable[[Model], None] | None = None,
        warm_timeout_s: float = 60.0,
    ) -> None:
        """Name the slots.

        Args:
            slots: their names; `actor`, `critic` and `judge` unless given.
            settings: by spec, for models that are made from specs.
            check: raises a ConfigError for a model that no slot may be bound to.
            warm_timeout_s: how long a new model may take for its first answer in `swap`.
        """
        self.slots = slots or ("actor", "critic", "judge")
        self._settings = settings or {}
        self._check_model = check
        self._warm_timeout_s = warm_timeout_s
        self._lock = RLock()
        self._history = BindingHistory()
        self._made: dict[str, Model] = {}
        self._breakers: dict[str, Breaker] = {}
        self._in_flight: Counter[tuple[str, int, str]] = Counter()
        self._drains: list[_Drain] = []
        self._drained: set[tuple[str, str]] = set()
        self._swaps: dict[str, Swap] = {}
        self._subscribers: list[Callable[[Change], None]] = []

    def __repr__(self) -> str:
        with self._lock:
            bound = {slot: binding.spec for slot, binding in self._history.latest_of_all().items()}
        return f"Switchboard({bound})"

    # -- binding -------------------------------------------------------------------------------

    def bind(self, slot: str, model: Bindable, *, revision: int = 0) -> Binding:
        """Bind a slot before any call for it, forgetting what it was bound to; no event, no warming.

        Args:
            slot: which.
            model: a spec, a model, a `Fallback` or a `Split`.
            revision: what to count from: that of the last swap when a tree is resumed.

        Raises:
            NoSuchSlot: there is no such slot.
            ConfigError: the spec cannot be resolved.
        """
        self._check(slot)
        binding = Binding(route=route_of(model, self._resolved), revision=revision)
        with self._lock:
            self._history.reset(slot, binding)
        return binding

    def binding(self, slot: str, *, tree: str = "", attempt: str = "") -> Binding:
        """Return what a slot stands for, for a call of this attempt, which has begun with this at the latest.

        Raises:
            NoSuchSlot: there is no such slot.
            ConfigError: it is not bound.
        """
        tree = tree or tree_of(attempt)
        with self._lock:
            self._latest(slot)
            self._history.begin(tree, attempt)
            return self._history.effective(slot, tree, attempt)

    def is_bound(self, slot: str) -> bool:
        """Whether the slot has a model."""
        with self._lock:
            return slot in self._history

    def begin(self, *attempts: str, then: Callable[[], object] = lambda: None) -> None:
        """Announce attempts: from now on they keep what their slots stand for, unless a swap is for calls.

        Args:
            attempts: their ids.
            then: called before any other swap: changes that subscribers got by then came before the attempts.
        """
        with self._lock:
            for attempt in attempts:
                self._history.begin(tree_of(attempt), attempt)
            then()

    def settled(self, attempt: str) -> None:
        """Note that an attempt has ended: it holds no binding from now on."""
        with self._lock:
            if self._history.settle(attempt):
                self._finish_drains()

    def restore(self, tree: str, attempt: str, slot: str, revision: int, spec: str) -> Binding:
        """Pin what had begun earlier to the binding that it had then.

        A binding that was drained meanwhile takes no calls any more: what was on it takes the present one.

        Args:
            tree: the resumed tree.
            attempt: an attempt of it; empty pins the tree.
            slot: which slot.
            revision: the recorded revision.
            spec: the recorded spec; a model that a slot has, or had, is used where it is the same.

        Raises:
            ConfigError: the spec cannot be resolved here.
        """
        with self._lock:
            latest = self._latest(slot)
            self._history.begin(tree, attempt)
            if (slot, spec) in self._drained:
                return latest
            known = (binding.route for _, binding in self._history.bindings())
            route = next((route for route in known if route.spec == spec), None)
        binding = Binding(route=route or route_of(spec, self._resolved), revision=revision)
        with self._lock:
            self._history.pin(slot, tree, attempt, binding)
        return binding

    def forget(self, tree: str) -> None:
        """Forget a tree that has ended."""
        with self._lock:
            self._history.forget(tree)
            self._finish_drains()

    def _check(self, slot: str) -> None:
        if slot not in self.slots:
            near = difflib.get_close_matches(slot, self.slots, n=1)
            guess = f"Did you mean {near[0]!r}? " if near else ""
            raise NoSuchSlot(f"There is no slot {slot!r}.", hint=f"{guess}Slots: {', '.join(self.slots)}.")

    def _latest(self, slot: str) -> Binding:
        self._check(slot)
        if slot not in self._history:
            raise ConfigError(f"Slot {slot!r} has no model.", hint=f"Bind one, as in {slot}='openai:NAME'.")
        return self._history.latest(slot)

    def _resolved(self, model: str | Model) -> Model:
        """Return the model; each spec is made once, so that slots share connections."""
        with self._lock:
            if isinstance(model, str):
                if model not in self._made:
                    self._made[model] = resolve(model, settings=self._settings.get(model))
                model = self._made[model]
        if self._check_model is not None:
            self._check_model(model)
        return model

    def tariff(self, spec: str) -> Tariff:
        """Return the tariff of a model that a slot has, or had; an empty one if none is set."""
        with self._lock:
            models = (model for _, binding in self._history.bindings() for model in binding.route.models())
            return next((tariff_of(model) for model in models if model.spec == spec), Tariff())

    # -- calls ---------------------------------------------------------------------------------

    def lease(self, slot: str, *, tree: str = "", attempt: str = "") -> AbstractAsyncContextManager[SlotLease]:
        """Return a context for one call: gives its binding, and counts it as in flight on that."""
        return self._leased(slot, tree, attempt)

    @asynccontextmanager
    async def _leased(self, slot: str, tree: str, attempt: str) -> AsyncGenerator[SlotLease, None]:
        with self._lock:
            binding = self.binding(slot, tree=tree, attempt=attempt)
            place = (slot, binding.revision, binding.spec)
            self._in_flight[place] += 1
        try:
            chain = binding.route.chain(f"{slot}/{attempt}")
            breakers = (
                [self._breaker(candidate.spec) for candidate in chain.candidates]
                if len(chain.candidates) > 1
                else []
            )
            yield SlotLease(binding=binding, cursor=FallbackCursor(chain, breakers))
        finally:
            with self._lock:
                self._in_flight[place] -= 1
                if not self._in_flight[place]:
                    del self._in_flight[place]
                self._finish_drains()

    def _breaker(self, spec: str) -> Breaker:
        with self._lock:
            if spec not in self._breakers:
                self._breakers[spec] = Breaker(spec, self._notify)
            return self._breakers[spec]

    def in_flight(self, slot: str) -> dict[int, int]:
        """Return the number of leased calls by the revision that they run on."""
        with self._lock:
            found: Counter[int] = Counter()
            for (name, revision, _), n in self._in_flight.items():
                found[revision] += n if name == slot else 0
            return dict(+found)

    # -- swaps ---------------------------------------------------------------------------------

    async def swap(
        self, slot: str, model: Bindable, *, when: When = "call", warm: bool = True, drain: bool = True
    ) -> Swap:
        """Bind a slot to another model while calls run; those in flight finish on the old one.

        May be called from any thread that runs an event loop. Do not wait for a drain inside of what it waits
        for: in a function that plays a role, pass `drain=False`.

        Args:
            slot: which.
            model: a spec, a model, a `Fallback` or a `Split`.
            when: from the next call, attempt or tree on.
            warm: ask the new model (of a chain its first candidate) for one token first; if that fails, nothing
                changes.
            drain: return only when no call can reach the old binding any more: those in flight have ended, and
                so have the attempts or trees that keep it.

        Raises:
            NoSuchSlot: there is no such slot.
            ConfigError: it is not bound, or the spec cannot be resolved.
            ModelError: the new model does not answer; the old one stays.
        """
        with self._lock:
            self._latest(slot)
        route = route_of(model, self._resolved)
        if warm:
            for first in route.first():
                await self._warm(first)
        with self._lock:
            old = self._latest(slot)
            new = Binding(route=route, revision=self._history.next_revision(slot))
            self._history.append(slot, new, when)
            self._drained.discard((slot, new.spec))
            swap = self._swaps[slot] = Swap(
                slot=slot,
                old=old.spec,
                new=new.spec,
                old_revision=old.revision,
                revision=new.revision,
                when=when,
            )
            self._notify(swap)
            self._finish_drains()
        if drain:
            await self._drain(slot, old)
            for left in self._left_by(old):
                await left.aclose()  # an adapter is unloaded, a server without models is stopped
        return swap

    def latest_swaps(self) -> tuple[Swap, ...]:
        """Return the last swap of each slot that had one."""
        with self._lock:
            return tuple(self._swaps.values())

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call `callback` at each swap and each change of a breaker; return a function that ends this.

        It is called before any call can use the new state, in the thread of the change, and must be quick.
        """
        with self._lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._subscribers:
                    self._subscribers.remove(callback)

        return unsubscribe

    def _notify(self, change: Change) -> None:
        with self._lock:
            for subscriber in tuple(self._subscribers):
                subscriber(change)

    def _left_by(self, binding: Binding) -> list[Model]:
        """Return the models of a drained binding that were made here and that no call can reach any more."""
        with self._lock:
            held = [*self._history.latest_of_all().values(), *self._history.pinned()]
            held += [one for slot, one in self._history.bindings() if self._reachable(slot, one)]
            kept = {id(model) for one in held for model in one.route.models()}
            made = {id(model) for model in self._made.values()}
            return [model for model in binding.route.models() if id(model) in made - kept]

    async def aclose(self) -> None:
        """Close the models that were made from specs; those that were handed in belong to their owners."""
        with self._lock:
            made = list(self._made.values())
        for model in made:
            await model.aclose()

    async def _warm(self, model: Model) -> None:
        canary = Request(
            messages=(user(HEALTH_CHECK),), sampling=Sampling(max_tokens=1), timeout_s=self._warm_timeout_s
        )
        try:
            await model.complete(canary)
        except Refused:
            return  # it answers

    async def _drain(self, slot: str, binding: Binding) -> None:
        drain = _Drain(slot, binding)
        with self._lock:
            self._drains.append(drain)
            self._finish_drains()
        try:
            await drain.future
        finally:
            with self._lock:
                if drain in self._drains:
                    self._drains.remove(drain)

    def _finish_drains(self) -> None:
        """Finish the drains of bindings that no call uses or can reach."""
        for drain in [drain for drain in self._drains if not self._reachable(drain.slot, drain.binding)]:
            self._drains.remove(drain)
            if self._latest(drain.slot).spec != drain.binding.spec:
                self._drained.add((drain.slot, drain.binding.spec))
            drain.finish()

    def _reachable(self, slot: str, binding: Binding) -> bool:
        """Return whether a call is on a binding, or may still come: by pins of resumed trees, too.

        These have the numbers of another process. So the same spec is the same binding, unless it is the
        slot's current one: then the drained model stays in use under its new revision.
        """
        by_spec = self._latest(slot).spec != binding.spec

        def same(revision: int, spec: str) -> bool:
            return spec == binding.spec and (by_spec or revision == binding.revision)

        if any(name == slot and same(revision, spec) for name, revision, spec in self._in_flight):
            return True
        return any(same(one.revision, one.spec) for one in self._history.reached(slot))


class _Drain:
    """A future that is done when no call can reach a binding."""

    def __init__(self, slot: str, binding: Binding) -> None:
        self.slot = slot
        self.binding = binding
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()

    def finish(self) -> None:
        """Set the future; may be called from any thread."""
        with suppress(RuntimeError):  # its event loop was closed: nothing waits for it
            self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)
