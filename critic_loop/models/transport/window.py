"""A window on the requests in flight at an endpoint; it adapts to how many the endpoint accepts.

Knows answers, refusals and time. Does not know why a call is made, nor what an error is (`wrappers.limit`).

The window grows while it is full and answers come: at first it doubles with each round of answers; after the
first refusal it grows by one (additive increase); the step to a size that was refused is ten times slower.
It shrinks by a tenth (multiplicative decrease), the first time by half, when the endpoint refuses for load
(429, 503, 529) or takes three times as long for a token as it did at its best. Only calls sent after the last
change count, so that one burst shrinks it once. A refusal also shrinks it to the number of the other calls in
flight. A call that is several requests at once takes a place for each; one that needs more places than there
are is sent alone.

An outage shrinks it to one call. It grows back by doubling, too, up to the size that the outage's first
refusal had left (TCP's slow start threshold), or to half of that when that is refused.

Source: Jacobson and Karels (1988), "Congestion Avoidance and Control"; a call is a packet, its answer the
acknowledgement. The factor is milder than TCP's half, because a refused call costs next to nothing here.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from threading import RLock
from weakref import WeakValueDictionary

_START = 16
_MOST = 10_000
_SHRINK = 0.9
_CAUTION = 0.1
"""Factor on the growth to a size that was refused before, as each try may cost a refused call."""
_SLOW = 3.0
"""Times the best seconds per token at which an endpoint counts as overloaded."""
_FLOOR = 8
"""Slowness alone never shrinks a window below this: with few calls, chance makes some slow."""
_OVERHEAD_TOKENS = 20
"""What a call costs before its first token, in tokens: so that short and long answers can be compared."""


@dataclass(slots=True)
class Place:
    """A call's places in the window, one for each request."""

    sent_at: float
    places: int
    full: bool
    """Whether the window had no room for another like it: only then an answer is evidence that it may grow."""
    shared_until: float
    """The endpoint's time, shared out, when the call was sent."""


@dataclass(slots=True)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]
    places: int
    admitted: bool = False


class Window:
    """How many requests an endpoint is sent at once. May be shared by models, event loops and threads."""

    def __init__(self, most: int | None = None, *, start: int | None = None) -> None:
        """Start with `start` calls, or with `most` where that is given, and never exceed `most`.

        Raises:
            ValueError: one of them is less than 1.
        """
        if min(most or 1, start or 1) < 1 or most == 0 or start == 0:
            raise ValueError("in_flight is at least 1")
        self._most = most or _MOST
        self.limit = float(min(start or most or _START, self._most))
        """Requests that may be in flight now; the fraction is progress towards one more."""
        self.in_flight = 0
        self._doubles_to = math.inf if most is None else 0.0
        """Below this the window doubles: at first, and on its way back from an outage."""
        self._known = 0.0
        """Where the first refusal since an answer had put it."""
        self._changed_at = -1.0
        self._refused: int | None = None
        """The number of calls that was too many when it was last tried."""
        self._refused_at = -1.0
        self._answers = True
        """Whether a call was answered that was sent after the last refusal."""
        self._held_until = 0.0
        self._pace = _Pace()
        self._shared_s, self._shared_at = 0.0, 0.0
        self._waiters: deque[_Waiter] = deque()
        self._lock = RLock()

    @asynccontextmanager
    async def place(self, places: int = 1) -> AsyncGenerator[Place, None]:
        """Wait for a place in the window, or for several, in order, and hold them."""
        await self._enter(places)
        with self._lock:
            now = _now()
            self._share(now)
            entry = Place(now, places, not self._has_room(places), self._shared_s)
        try:
            yield entry
        finally:
            self._leave(places)

    async def _enter(self, places: int) -> None:
        with self._lock:
            now = _now()
            if not self._waiters and now >= self._held_until and self._has_room(places):
                self._admit(now, places)
                return
            loop = asyncio.get_running_loop()
            waiter = _Waiter(loop, loop.create_future(), places)
            self._waiters.append(waiter)
            if self._held_until > now:
                self._look()
        try:
            await waiter.future
        except BaseException:
            with self._lock:
                if waiter.admitted:
                    self._leave(places)
                elif waiter in self._waiters:  # one that was cancelled may have been passed over already
                    self._waiters.remove(waiter)
                    self._wake()  # it may have waited for more places than the next needs
            raise

    def _has_room(self, places: int) -> bool:
        return self.in_flight + places <= int(self.limit) or not self.in_flight

    def _admit(self, now: float, places: int) -> None:
        self._share(now)
        self.in_flight += places

    def _leave(self, places: int) -> None:
        with self._lock:
            self._share(_now())
            self.in_flight -= places
            self._wake()

    def _wake(self) -> None:
        """Give free places to the calls that have waited longest."""
        with self._lock:
            now = _now()
            while self._waiters and now >= self._held_until and self._has_room(self._waiters[0].places):
                waiter = self._waiters.popleft()
                if waiter.future.cancelled() or waiter.loop.is_closed():
                    continue
                waiter.admitted = True
                self._admit(now, waiter.places)
                if waiter.loop is asyncio.get_running_loop():
                    _set(waiter.future)
                else:
                    waiter.loop.call_soon_threadsafe(_set, waiter.future)

    # -- what calls report -----------------------------------------------------------------------

    def answered(self, entry: Place, output_tokens: int, *, hold_s: float = 0.0) -> float:
        """Learn from an answer; return the call's share of the endpoint's time, in seconds.

        Args:
            entry: the call's place.
            output_tokens: the length of what was answered.
            hold_s: how long the endpoint asks to send nothing more.
        """
        with self._lock:
            now = _now()
            self._share(now)
            fresh = entry.sent_at > self._refused_at
            self._answers = self._answers or fresh
            tokens = output_tokens / entry.places + _OVERHEAD_TOKENS
            slow = self._pace.observe((now - entry.sent_at) / tokens)
            if slow and entry.full and entry.sent_at > self._changed_at and self.limit > _FLOOR:
                self._shrink(now, at_least=_FLOOR)
            elif entry.full and not slow:
                for _ in range(entry.places):
                    self._grow(fresh=fresh)
            if hold_s > 0:
                self._hold(now, hold_s)
            return entry.places * (self._shared_s - entry.shared_until)

    def overloaded(self, entry: Place) -> None:
        """Learn that the endpoint refused a call because it has too many: at most the others are in there."""
        with self._lock:
            now = _now()
            self._refused = min(int(self.limit), self.in_flight)
            on_its_way = self.limit < self._doubles_to < math.inf
            if entry.sent_at > self._changed_at:
                self._shrink(now, at_least=1)
            self.limit = max(1.0, min(self.limit, self.in_flight - 1))
            if self._answers:
                self._known = self._known / 2 if on_its_way else self.limit
            self._doubles_to = self._known if self.limit < self._known / 2 else 0.0
            self._refused_at, self._answers = now, False

    def _grow(self, *, fresh: bool) -> None:
        if fresh and self.limit < self._doubles_to:
            step = 1.0
        elif self._refused is not None and int(self.limit + 1.0 / self.limit) >= self._refused:
            step = _CAUTION / self.limit
        else:
            step = 1.0 / self.limit
        self.limit = min(self.limit + step, float(self._most))
        if self._refused is not None and self.limit >= self._refused:
            self._refused = None  # to be found out again

    def _shrink(self, now: float, *, at_least: int) -> None:
        self.limit = max(float(at_least), self.limit * (0.5 if self._doubles_to == math.inf else _SHRINK))
        self._doubles_to = 0.0
        self._changed_at = now

    def _hold(self, now: float, hold_s: float) -> None:
        self._held_until = max(self._held_until, now + hold_s)
        for loop in {waiter.loop for waiter in self._waiters}:
            with suppress(RuntimeError):  # a loop that was closed has no waiting calls
                loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        """Wake waiting calls when the hold is over, by this event loop's timer: other loops may end earlier."""
        with self._lock:
            left_s = self._held_until - _now()
            if left_s > 0:
                asyncio.get_running_loop().call_later(left_s, self._look)
            else:
                self._wake()

    def _share(self, now: float) -> None:
        """Share out the time since the last change among the requests that were in flight."""
        if self.in_flight:
            self._shared_s += (now - self._shared_at) / self.in_flight
        self._shared_at = now


class _Pace:
    """Seconds per token lately, and at their best."""

    def __init__(self) -> None:
        self._seen = 0
        self._lately = 0.0
        self._best = 0.0

    def observe(self, seconds: float) -> bool:
        """Add one answer; return whether answers have become slow."""
        self._seen += 1
        self._lately += (seconds - self._lately) / min(self._seen, 32)
        if self._seen <= 32:
            self._best = self._lately
            return False
        # The best drifts up, so that an endpoint that is slower for good is believed in the end.
        self._best = min(self._lately, self._best + (self._lately - self._best) / 4096)
        return self._lately > _SLOW * self._best


_windows: WeakValueDictionary[tuple[str, str, int | None], Window] = WeakValueDictionary()
_windows_lock = RLock()


def window_of(url: str, key_env: str = "", most: int | None = None) -> Window:
    """Return the window of an endpoint: one for all models of this process that are asked there."""
    with _windows_lock:
        window = _windows.get((url, key_env, most))
        if window is None:
            window = _windows[url, key_env, most] = Window(most)
        return window


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _now() -> float:
    return asyncio.get_running_loop().time()
