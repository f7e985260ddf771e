"""A circuit breaker: a model that keeps failing is paused, then tried with one call.

Knows causes, counts and pauses. Does not know what is called instead (`wrappers.fallback`). Thread safe.

    closed ── so many failures of one cause in a row ──▶ open ── after a pause ──▶ half-open: one call
       ▲                                                  ▲                          │          │
       └──────────────────── it is answered ──────────────┼──────────────────────────┘          │
                                                          └──── it fails: a pause twice as long ┘
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import ClassVar, Literal, TypeAlias

from pydantic import JsonValue

from critic_loop.core.errors import (
    CreditExhausted,
    CriticLoopError,
    DeadlineExceeded,
    EndpointError,
    OutputError,
    RateLimited,
    Refused,
    Unreachable,
)
from critic_loop.core.records import EventKind

Cause: TypeAlias = Literal["outage", "refusal", "invalid", "credit"]
State: TypeAlias = Literal["closed", "open", "half-open"]
Admission: TypeAlias = Literal["no", "yes", "trial"]
_LONGEST_PAUSE_S = 600.0
_ANSWERS = ("refusal", "invalid")
"""Failures of an endpoint that answers: they end an outage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePolicy:
    """What follows from one cause of failure of a candidate in a fallback chain."""

    fall_back: bool = True
    """Whether the next candidate is called; if not, the error is raised."""
    opens_after: int | None = None
    """Failures of this cause in a row after which the candidate is paused; None = never."""
    pause_s: float = 10.0
    """The pause before one call tries it again; doubles with each failure, up to ten minutes."""


OUTAGE = FailurePolicy(opens_after=3)
REFUSAL = FailurePolicy()
INVALID = FailurePolicy(opens_after=10, pause_s=60.0)
CREDIT = FailurePolicy(opens_after=1, pause_s=300.0)


def cause_of(error: CriticLoopError) -> Cause | None:
    """Return what kind of failure an error is; None where another model would hide a mistake.

    Rate limits, deadlines, 5xx and connections count as outage: whoever retries has given up by then. A wrong
    key, a prompt that is too long and a request that the endpoint calls wrong are no reason to ask another.
    """
    match error:
        case CreditExhausted():
            return "credit"
        case Refused():
            return "refusal"
        case OutputError():
            return "invalid"
        case RateLimited() | DeadlineExceeded() | Unreachable():
            return "outage"
        case EndpointError(transient=True):
            return "outage"
        case _:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerEvent:
    """A breaker changed its state; fields as they go into an event's data."""

    spec: str
    state: State
    cause: Cause | None = None
    pause_s: float = 0.0

    kind: ClassVar[EventKind] = "breaker"

    @property
    def text(self) -> str:
        """The event in one line."""
        match self.state:
            case "open":
                return f"{self.spec} is paused for {self.pause_s:g} s ({self.cause})"
            case "half-open":
                return f"{self.spec} is tried again with one call"
            case "closed":
                return f"{self.spec} answers again"

    @property
    def data(self) -> dict[str, JsonValue]:
        """The fields."""
        return {"spec": self.spec, "state": self.state, "cause": self.cause, "pause_s": self.pause_s}


Notify: TypeAlias = Callable[[BreakerEvent], None]


class Breaker:
    """The state of one model, shared by all slots and chains that ask it."""

    def __init__(self, spec: str, notify: Notify) -> None:
        """Start closed; `notify` is called with every change, under the breaker's lock."""
        self.spec = spec
        self.state: State = "closed"
        self.opens_until = 0.0
        """When the next call may try it, on the clock of the event loops."""
        self._notify = notify
        self._lock = RLock()
        self._cause: Cause | None = None
        self._in_a_row = 0
        self._pause_s = 0.0

    def would_admit(self, now: float) -> bool:
        """Return whether a call may be sent to the model now."""
        return self.state == "closed" or (self.state == "open" and now >= self.opens_until)

    def admit(self, now: float, *, force: bool = False) -> Admission:
        """Return whether a call may be sent, and whether it is the one that tries after a pause."""
        with self._lock:
            if not (force or self.would_admit(now)):
                return "no"
            if self.state != "open":
                return "yes"
            self._become("half-open")
            return "trial"

    def answered(self, *, trial: bool) -> None:
        """Note that a call was answered. While open, calls from before change nothing."""
        with self._lock:
            if trial:
                self._pause_s = 0.0
                self._become("closed")
            if self.state == "closed":
                self._in_a_row = 0

    def failed(self, cause: Cause, on: FailurePolicy, now: float, *, trial: bool) -> None:
        """Note that a call failed. While open, calls from before change nothing."""
        with self._lock:
            if self.state != "closed" and not trial:
                return
            if trial and cause != self._cause and cause in _ANSWERS:
                self.answered(trial=True)
                trial = False
            self._in_a_row = self._in_a_row + 1 if cause == self._cause else 1
            self._cause = cause
            if trial or (on.opens_after is not None and self._in_a_row >= on.opens_after):
                self._pause_s = min(max(on.pause_s, 2 * self._pause_s), _LONGEST_PAUSE_S)
                self.opens_until = now + self._pause_s
                self._become("open")

    def left(self, now: float, *, trial: bool) -> None:
        """Note that a call ended without a result about the model: another call may try it."""
        with self._lock:
            if trial:
                self.opens_until, self.state = now, "open"

    def _become(self, state: State) -> None:
        self.state = state
        opened = state == "open"
        self._notify(
            BreakerEvent(
                spec=self.spec, state=state, cause=self._cause if opened else None,
                pause_s=self._pause_s if opened else 0.0,
            )
        )  # fmt: skip
