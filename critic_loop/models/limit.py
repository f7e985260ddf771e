"""A bound on calls in flight: a model around a model.

Knows how many calls are open. Does not know why a bound is wanted. Stands below `Retrying`, so that
a call that waits for its next attempt holds no place.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from weakref import WeakKeyDictionary

from critic_loop.core.errors import DeadlineExceeded
from critic_loop.core.protocols import Completion, Model, NotSent, Request


class Limited:
    """Lets at most `in_flight` calls through at once in each event loop; the others wait in order."""

    def __init__(self, model: Model, in_flight: int) -> None:
        """Wrap `model`.

        Raises:
            ValueError: `in_flight` is less than 1.
        """
        if in_flight < 1:
            raise ValueError("in_flight is at least 1")
        self._model = model
        self._in_flight = in_flight
        self._gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"Limited({self._model!r}, in_flight={self._in_flight})"

    @property
    def spec(self) -> str:
        """The wrapped model's name in records."""
        return self._model.spec

    async def complete(self, request: Request) -> Completion:
        """Answer `request` when its turn comes; waiting counts against `request.timeout_s`.

        Raises:
            NotSent: its turn came when nothing more was to be sent.
        """
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop) or self._gate(loop)
        started = loop.time()
        await self._enter(gate, request)
        try:
            if request.may_send is not None and not request.may_send():
                raise NotSent(f"{self.spec} was not asked: the run ended before it was this call's turn.")
            if request.timeout_s is not None:
                left_s = max(0.0, request.timeout_s - (loop.time() - started))
                request = replace(request, timeout_s=left_s)
            return await self._model.complete(request)
        finally:
            gate.release()

    async def aclose(self) -> None:
        """Close the wrapped model."""
        await self._model.aclose()

    def _gate(self, loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:
        for closed in [other for other in self._gates if other.is_closed()]:
            self._gates.pop(closed, None)
        return self._gates.setdefault(loop, asyncio.Semaphore(self._in_flight))

    async def _enter(self, gate: asyncio.Semaphore, request: Request) -> None:
        try:
            async with asyncio.timeout(request.timeout_s):
                await gate.acquire()
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self.spec} had {self._in_flight} calls in flight for {request.timeout_s:g} s, "
                "and this one was not sent.",
                hint="Raise timeout_s or in_flight.",
            ) from None
