"""Turns on a shared device: calls of the server that has it run, calls of the others wait.

Knows calls in flight and whose turn it is. Does not know what a server is. May be used from several event loops
and threads. Slow operations (start, sleep) run in a thread of their own, which no cancellation interrupts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from threading import RLock, Thread
from typing import Protocol


class Holder(Protocol):
    """Something that a device is needed for."""

    @property
    def up(self) -> bool:
        """Whether it can be asked now; looked at before every call."""
        ...

    def rouse(self) -> None:
        """Make it ready to be asked. Blocks."""
        ...

    def rest(self) -> None:
        """Free the device; no call is in flight. Blocks."""
        ...


class _Waiter:
    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.admitted = False

    def settle(self, error: BaseException | None) -> bool:
        """Wake the waiting call; return whether its event loop still runs."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._set, error)
            return True
        return False

    def _set(self, error: BaseException | None) -> None:
        if not self.future.done():
            if error is None:
                self.future.set_result(None)
            else:
                self.future.set_exception(error)


class Turns:
    """One device, and the holder that has it now."""

    def __init__(self, turn_s: float = 10.0) -> None:
        """Let a holder begin no more calls once others have waited for `turn_s` seconds."""
        self._turn_s = turn_s
        self._lock = RLock()
        self._holder: Holder | None = None
        self._in_flight = 0
        self._changing = False
        self._waiting: list[_Waiter] = []
        self._wanted_since = 0.0

    @asynccontextmanager
    async def of(self, holder: Holder) -> AsyncGenerator[None, None]:
        """Hold the device with one call; first wait until it is this holder's turn and it is up.

        Raises:
            Exception: what `rouse` raised, for all that waited for it.
        """
        waiter = self._enter(holder)
        if waiter is not None:
            try:
                await waiter.future
            except BaseException:
                self._withdraw(waiter)
                raise
        try:
            yield
        finally:
            self._leave()

    def _enter(self, holder: Holder) -> _Waiter | None:
        with self._lock:
            if self._holder is holder and not self._changing and not self._is_wanted() and holder.up:
                self._in_flight += 1
                return None
            waiter = _Waiter(holder)
            if holder is not self._holder and not self._others_wait():
                self._wanted_since = time.monotonic()
            self._waiting.append(waiter)
            self._advance()
            return waiter

    def _is_wanted(self) -> bool:
        """Whether others have waited long enough for the holder to begin nothing more."""
        return self._others_wait() and time.monotonic() - self._wanted_since > self._turn_s

    def _others_wait(self) -> bool:
        return any(one.holder is not self._holder for one in self._waiting)

    def _leave(self) -> None:
        with self._lock:
            self._in_flight -= 1
            self._advance()

    def _withdraw(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter.admitted:
                self._leave()
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
                self._advance()

    def _advance(self) -> None:
        if not self._waiting or self._changing:
            return
        if not self._in_flight:
            self._changing = True
            Thread(target=self._change, args=(self._waiting[0].holder,), daemon=True).start()
        elif self._holder is not None and not self._others_wait() and self._holder.up:
            self._admit(self._holder)  # the others no longer wait

    def _change(self, holder: Holder) -> None:
        error: BaseException | None = None
        try:
            if self._holder is not None and self._holder is not holder:
                self._holder.rest()
            self._holder = holder
            holder.rouse()
        except Exception as failed:  # noqa: BLE001  # raised where the calls are
            error = failed
        with self._lock:
            self._changing = False
            self._wanted_since = time.monotonic()
            if error is not None or holder.up:  # else more is needed of it now than when it began to rise
                self._admit(holder, error)
            self._advance()

    def _admit(self, holder: Holder, error: BaseException | None = None) -> None:
        """Let those go on that wait for a holder."""
        admitted = [waiter for waiter in self._waiting if waiter.holder is holder]
        self._waiting = [waiter for waiter in self._waiting if waiter.holder is not holder]
        for waiter in admitted:
            if waiter.settle(error) and error is None:
                waiter.admitted = True
                self._in_flight += 1


class _Lent:
    """A holder that is not a server."""

    up = True

    def rouse(self) -> None:
        pass

    def rest(self) -> None:
        pass


@asynccontextmanager
async def lend(device: str) -> AsyncGenerator[None, None]:
    """Reserve a device, as for a training step: its servers sleep, and their calls wait.

    It begins when the calls in flight have ended. Servers begin no new calls once it has waited ten seconds.

    Args:
        device: its name, as `serve.device` has it in the models' settings.
    """
    async with turns_of(device).of(_Lent()):
        yield


_devices: dict[str, Turns] = {}
_devices_lock = RLock()


def turns_of(device: str) -> Turns:
    """Return the turns of a device, the same for the same name in this process."""
    with _devices_lock:
        return _devices.setdefault(device, Turns())
