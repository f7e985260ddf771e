"""A model around a model that sends requests again: the only layer that does.

Knows which errors pass by themselves and how long to wait. Does not know HTTP. Other clients in this
package send each request once, so that attempts never multiply.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from critic_loop.core.errors import (
    DeadlineExceeded,
    EndpointError,
    ModelError,
    NoSuchModel,
    RateLimited,
    ServerFailed,
    Unreachable,
    fingerprint,
)
from critic_loop.core.protocols import Completion, Model, Request
from critic_loop.models.wrappers.wrapper import ModelWrapper

if TYPE_CHECKING:
    from tenacity import RetryCallState

_PATIENCE_S = 2.0
"""The longest wait where the request limits its retries: then another model can be called at once."""
_POLL_S = 0.2
"""How soon a wait ends after the run has stopped sending."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a call is retried, and after which waits."""

    attempts: int = 8
    """Sends in all, the first included."""
    same_error: int = 4
    """Equal errors in a row after which no more is sent; rate limits are exempt."""
    unreachable: int = 3
    """Sends in all while nothing answers at the address."""
    first_wait_s: float = 0.5
    """Doubles with each attempt; half of every wait is drawn at random."""
    longest_wait_s: float = 60.0
    """Caps a wait, and an endpoint's Retry-After too."""
    seed: int = 0
    """Of the random part."""


class Retrying(ModelWrapper):
    """Sends a request again when the error may pass: rate limits, 5xx, broken connections.

    `request.timeout_s` bounds all attempts and the waits between them, but for the start of a server; an error
    is raised at once where the wait would pass it. With `on_text`, a second attempt's text starts
    from the beginning.
    """

    def __init__(self, model: Model, policy: RetryPolicy | None = None) -> None:
        """Wrap `model`."""
        super().__init__(model)
        self._policy = policy or RetryPolicy()
        self._calls = itertools.count()

    async def complete(self, request: Request) -> Completion:
        """Answer `request`, trying again as the policy says; the last error is raised as it is."""
        state_of_call = _RetryState(self._policy, next(self._calls), request)
        try:
            return await self._send(request, state_of_call)
        except ModelError as error:
            if not is_transient(error):
                raise
            first = error
        return await self._again(request, state_of_call, first)

    async def _again(self, request: Request, state_of_call: _RetryState, first: ModelError) -> Completion:
        """Go on after a first failure. Most calls have none, and need not pay for tenacity (0.06 ms)."""
        from tenacity import AsyncRetrying

        failed, last = [first], first

        async def attempt() -> Completion:
            if failed:
                raise failed.pop()
            if not _may_send(request) or (request.may_retry is not None and not request.may_retry()):
                raise _StopRetrying
            return await self._send(request, state_of_call)

        async def wait(seconds: float) -> None:
            await _sleep_while_sending(seconds, request)

        def note(state: RetryCallState) -> None:
            nonlocal last
            error = _error(state)
            last = error if isinstance(error, ModelError) else last
            self._note(state)

        retrying = AsyncRetrying(
            sleep=wait,
            retry=state_of_call.may_pass,
            wait=state_of_call.wait_s,
            stop=state_of_call.over,
            before_sleep=note,
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except _StopRetrying:
            raise last from None

    async def _send(self, request: Request, state_of_call: _RetryState) -> Completion:
        left_s = state_of_call.left_s()
        if left_s is not None:
            if left_s <= 0:
                raise DeadlineExceeded(f"{self.spec} had no answer within {request.timeout_s:g} s.")
            request = replace(request, timeout_s=left_s, on_wait=state_of_call.waited)
        return await self.inner.complete(request)

    def _note(self, state: RetryCallState) -> None:
        wait_s = state.next_action.sleep if state.next_action else 0.0
        _log.info(
            "%s: attempt %d failed (%s); next in %.2f s",
            self.spec, state.attempt_number, _error(state), wait_s,
        )  # fmt: skip


def _may_send(request: Request) -> bool:
    return request.may_send is None or request.may_send()


async def _sleep_while_sending(seconds: float, request: Request) -> None:
    """Sleep, but not on when nothing more is to be sent."""
    if request.may_send is None:
        return await asyncio.sleep(seconds)
    time = asyncio.get_running_loop().time
    until = time() + seconds
    while (left_s := until - time()) > 0 and request.may_send():  # noqa: ASYNC110  # who ends the run may be in another thread
        await asyncio.sleep(min(left_s, _POLL_S))
    return None


class _StopRetrying(Exception):
    """Whoever asked wants no other attempt, or has no budget for it; never leaves this module."""


class _RetryState:
    """One call's attempts so far."""

    def __init__(self, policy: RetryPolicy, number: int, request: Request) -> None:
        self._policy = policy
        timeout_s, retries = request.timeout_s, request.retries
        self._attempts = policy.attempts if retries is None else min(policy.attempts, 1 + retries)
        self._longest_s = None if retries is None else _PATIENCE_S
        self._number = number
        self._random: random.Random | None = None
        self._time = asyncio.get_running_loop().time
        self._deadline = None if timeout_s is None else self._time() + timeout_s
        self._last = ""
        self._same = 0

    def left_s(self) -> float | None:
        """Return the time that is left; None = no limit."""
        return None if self._deadline is None else self._deadline - self._time()

    def waited(self, seconds: float) -> None:
        """Add time that passed before an attempt could be sent."""
        if self._deadline is not None:
            self._deadline += seconds

    def may_pass(self, state: RetryCallState) -> bool:
        """Return whether the attempt failed with an error that trying again may cure."""
        error = _error(state)
        if not isinstance(error, ModelError) or not is_transient(error):
            return False
        text = fingerprint(error)
        self._same = self._same + 1 if text == self._last else 1
        self._last = text
        return True

    def wait_s(self, state: RetryCallState) -> float:
        """Return the wait before the next attempt: what the endpoint asks for, or exponential."""
        policy = self._policy
        if self._random is None:
            self._random = random.Random(f"{policy.seed}/{self._number}")  # noqa: S311  # jitter
        asked_s = getattr(_error(state), "retry_after_s", None)
        if asked_s is not None:  # a little later, so that waiting calls do not all return at once
            return min(asked_s * (1 + 0.1 * self._random.random()), policy.longest_wait_s)
        wait_s = min(policy.first_wait_s * 2.0 ** (state.attempt_number - 1), policy.longest_wait_s)
        return wait_s * (0.5 + 0.5 * self._random.random())

    def over(self, state: RetryCallState) -> bool:
        """Return whether to give up; the coming wait is known already."""
        policy, error = self._policy, _error(state)
        if state.attempt_number >= self._attempts:
            return True
        if isinstance(error, Unreachable) and state.attempt_number >= policy.unreachable:
            return True
        if not isinstance(error, RateLimited) and self._same >= policy.same_error:
            return True
        if self._longest_s is not None and state.upcoming_sleep > self._longest_s:
            return True
        left_s = self.left_s()
        return left_s is not None and state.upcoming_sleep >= left_s


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed if it is sent again."""
    if isinstance(error, EndpointError):
        return error.transient
    if isinstance(error, NoSuchModel | ServerFailed) or not isinstance(error, ModelError):
        return False
    return isinstance(error, RateLimited | Unreachable)
