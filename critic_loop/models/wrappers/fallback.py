"""Candidates in order of preference: which one a call is sent to, and which one after it.

Knows breakers and causes of failure. Does not know slots, and sends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import JsonValue

from critic_loop.core.errors import CriticLoopError, NotSent
from critic_loop.core.protocols import Model
from critic_loop.core.records import EventKind
from critic_loop.models.wrappers.breaker import Breaker, Cause, FailurePolicy, cause_of


@dataclass(frozen=True, slots=True)
class FallbackEvent:
    """A call moved on to the next candidate; fields as they go into an event's data."""

    old: str
    new: str
    cause: Cause
    error: str

    kind: ClassVar[EventKind] = "fallback"

    @property
    def text(self) -> str:
        """The event in one line."""
        return f"{self.old} -> {self.new} ({self.cause}: {self.error})"

    @property
    def data(self) -> dict[str, JsonValue]:
        """The fields."""
        return {"old": self.old, "new": self.new, "cause": self.cause, "error": self.error}


@dataclass(frozen=True, slots=True)
class Chain:
    """Models in order, for one share of the attempts."""

    share: float
    candidates: tuple[Model, ...]
    on: Mapping[Cause, FailurePolicy]
    retries: int


class FallbackCursor:
    """One call's place in a chain: the candidate that gets it now, and the next one if that fails."""

    def __init__(self, chain: Chain, breakers: Sequence[Breaker]) -> None:
        """Start at the first candidate that may be called; if none may, at the one whose pause ends first."""
        self._chain = chain
        self._breakers = breakers
        self._at = -1
        self._trial = False
        if not breakers:  # one candidate: there is no other, so it is never paused
            self._at = 0
        elif not self._advance():
            self._at = min(range(len(breakers)), key=lambda candidate: breakers[candidate].opens_until)
            self._trial = breakers[self._at].admit(_now(), force=True) == "trial"

    @property
    def model(self) -> Model:
        """The candidate that is called now."""
        return self._chain.candidates[self._at]

    @property
    def retries(self) -> int | None:
        """How often the same request may be sent again; None leaves that to the model."""
        if not self._more():
            return None
        return 0 if self._trial else self._chain.retries

    @property
    def rejects(self) -> bool:
        """Whether an answer that cannot be parsed is a failure, because another candidate may do better."""
        return self._more() and self._chain.on["invalid"].fall_back

    def answered(self) -> None:
        """Note that the model answered."""
        if self._breakers:
            self._breakers[self._at].answered(trial=self._trial)

    def failed(self, error: CriticLoopError) -> FallbackEvent | None:
        """Note that it failed, and move on to the next candidate; None if the error must be raised."""
        cause = None if isinstance(error, NotSent) else cause_of(error)
        if not self._breakers or cause is None:
            return self.left()
        on, old = self._chain.on[cause], self.model.spec
        self._breakers[self._at].failed(cause, on, _now(), trial=self._trial)
        if not on.fall_back or not self._advance():
            return None
        return FallbackEvent(old, self.model.spec, cause, error.message)

    def left(self) -> None:
        """Note that the call ended without a result about the model, as when it is cancelled."""
        if self._breakers:
            self._breakers[self._at].left(_now(), trial=self._trial)

    def _more(self) -> bool:
        return any(breaker.would_admit(_now()) for breaker in self._breakers[self._at + 1 :])

    def _advance(self) -> bool:
        """Move on to the next candidate that may be called; return whether there is one."""
        for candidate in range(self._at + 1, len(self._breakers)):
            admission = self._breakers[candidate].admit(_now())
            if admission != "no":
                self._at, self._trial = candidate, admission == "trial"
                return True
        return False


def _now() -> float:
    return asyncio.get_running_loop().time()
