"""A model around a model that limits the calls in flight.

Knows which errors mean overload. Does not know how many calls an endpoint takes (`transport.window`). Stands
below `Retrying`, so that a call that waits for its next attempt holds no place.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol, runtime_checkable

from critic_loop.core.errors import DeadlineExceeded, EndpointError, ModelError, NotSent, RateLimited
from critic_loop.core.protocols import Completion, Model, Request
from critic_loop.models.transport.window import Place, Window
from critic_loop.models.wrappers.wrapper import ModelWrapper

_OVERLOADED = (503, 529)
"""Statuses with which endpoints refuse for load, beside 429."""


@runtime_checkable
class _Several(Protocol):
    """A model that may send several requests for one call."""

    def sends(self, request: Request) -> int:
        """Return how many of them are under way at once."""
        ...


class Limited(ModelWrapper):
    """Sends as many calls at once as a window admits; the others wait in order."""

    def __init__(self, model: Model, window: Window | int | None = None) -> None:
        """Wrap `model`.

        Args:
            model: the model.
            window: shared with other models of the endpoint; a number is an upper bound on calls in flight.

        Raises:
            ValueError: the number is less than 1.
        """
        super().__init__(model)
        self._sends = model.sends if isinstance(model, _Several) else None
        self.window = window if isinstance(window, Window) else Window(window)

    def __repr__(self) -> str:
        return f"Limited({self.inner!r}, limit={self.window.limit:g})"

    async def complete(self, request: Request) -> Completion:
        """Answer `request` when its turn comes; waiting counts against `request.timeout_s`.

        Raises:
            NotSent: its turn came when nothing more was to be sent.
            DeadlineExceeded: its turn did not come in time.
        """
        now = asyncio.get_running_loop().time
        deadline = None if request.timeout_s is None else now() + request.timeout_s
        waiting = asyncio.timeout_at(deadline)
        try:
            places = 1 if self._sends is None else self._sends(request)
            async with waiting, self.window.place(places) as entry:
                waiting.reschedule(None)
                if request.may_send is not None and not request.may_send():
                    raise NotSent(f"{self.spec} was not asked: the run ended before it was this call's turn.")
                if deadline is not None:
                    request = replace(request, timeout_s=max(0.0, deadline - now()))
                return await self._send(request, entry)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self.spec} had {int(self.window.limit)} calls in flight for {request.timeout_s:g} s, "
                "and this one was not sent.",
                hint="Raise timeout_s, or ask for less at once.",
            ) from None

    async def _send(self, request: Request, entry: Place) -> Completion:
        try:
            completion = await self.inner.complete(request)
        except ModelError as error:
            if _is_overload(error):
                self.window.overloaded(entry)
            raise
        tokens = completion.usage.output_tokens
        busy_s = self.window.answered(entry, tokens, hold_s=completion.hold_s)
        return replace(completion, busy_s=busy_s)


def _is_overload(error: ModelError) -> bool:
    return isinstance(error, RateLimited) or (isinstance(error, EndpointError) and error.status in _OVERLOADED)
