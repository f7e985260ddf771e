"""Replicas of one model behind several addresses: `vllm:NAME@http://a:8000,http://b:8000`.

Knows which replica gets a request. All requests of a tree are sent to one replica, which has the tree's long
prompts in its prefix cache; a replica that fails is paused for a while, and its trees spread over the others.

Source: Thaler and Ravishankar (1998), "Using name-based mappings to increase hit rates": each tree ranks the
replicas by hash, so that a replica that fails or returns moves its own trees only.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace

from critic_loop.core.errors import CriticLoopError, DeadlineExceeded
from critic_loop.core.protocols import Completion, Model, Request
from critic_loop.models.wrappers.breaker import OUTAGE, Breaker, BreakerEvent, Cause, FailurePolicy
from critic_loop.models.wrappers.fallback import Chain, FallbackCursor

_log = logging.getLogger(__name__)
_RAISE = FailurePolicy(fall_back=False)
_CAUSES: dict[Cause, FailurePolicy] = {
    "outage": OUTAGE,
    "refusal": _RAISE,
    "invalid": _RAISE,
    "credit": _RAISE,
}


class Pool:
    """Several servers of one model; each tree keeps to one while that answers."""

    def __init__(self, replicas: Sequence[Model], *, spec: str) -> None:
        """Take the replicas, each with retries and a limit of its own, and the name in records."""
        self._replicas = tuple(replicas)
        self._breakers = {id(model): Breaker(model.spec, _log_event) for model in self._replicas}
        self._spec = spec
        self._without_tree = itertools.count()

    def __repr__(self) -> str:
        return f"Pool({self._spec!r})"

    @property
    def spec(self) -> str:
        """The name in records, all addresses in it."""
        return self._spec

    async def complete(self, request: Request) -> Completion:
        """Answer `request` at the tree's replica, or at the next that can; requests without a tree take turns.

        Raises:
            ModelError: the last replica's, or one that all would answer with.
        """
        order = self._order(request.tree or str(next(self._without_tree)))
        cursor = FallbackCursor(Chain(100.0, order, _CAUSES, 1), [self._breakers[id(model)] for model in order])
        now = asyncio.get_running_loop().time
        deadline = None if request.timeout_s is None else now() + request.timeout_s
        while True:
            try:
                completion = await cursor.model.complete(_limited(request, cursor.retries, deadline, now()))
            except CriticLoopError as error:
                event = cursor.failed(error)
                if event is None:
                    raise
                if isinstance(error, DeadlineExceeded) and _is_over(deadline, now()):
                    cursor.left()
                    raise
                _log.info("%s", event.text)
            except BaseException:
                cursor.left()
                raise
            else:
                cursor.answered()
                return completion

    async def aclose(self) -> None:
        """Close the replicas' connections."""
        ends = await asyncio.gather(*(model.aclose() for model in self._replicas), return_exceptions=True)
        for error in ends:
            if error is not None:
                raise error

    def _order(self, key: str) -> tuple[Model, ...]:
        def rank(model: Model) -> bytes:
            return hashlib.blake2b(f"{key}\0{model.spec}".encode(), digest_size=8).digest()

        return tuple(sorted(self._replicas, key=rank))


def _limited(request: Request, retries: int | None, deadline: float | None, now: float) -> Request:
    """Return a request that takes what is left of its time and of its retries."""
    if retries is not None:
        retries = retries if request.retries is None else min(retries, request.retries)
        request = replace(request, retries=retries)
    return request if deadline is None else replace(request, timeout_s=max(0.0, deadline - now))


def _is_over(deadline: float | None, now: float) -> bool:
    return deadline is not None and now >= deadline


def _log_event(event: BreakerEvent) -> None:
    _log.info("%s", event.text)
