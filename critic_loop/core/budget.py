"""Budgets: reserved before each send, settled after it, shared by everyone who spends.

Knows limits and leases. Does not know prices (money is counted where somebody told the price) nor
processes: `Ledger` is the protocol that a shared one implements; `LocalLedger` serves one process.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Upper bounds; None = no bound."""

    calls: int | None = None
    tokens: int | None = None
    """Input and output tokens together, as billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A reservation: what one call may use at most, as far as that is known beforehand."""

    calls: int = 1
    tokens: int = 0


class Ledger(Protocol):
    """Who may spend. Safe to use from several lanes, trees and threads."""

    def reserve(self, *, calls: int = 1, tokens: int = 0) -> Lease | None:
        """Set the amount aside, or return None when the budget has not so much left."""
        ...

    def settle(self, lease: Lease, *, calls: int, tokens: int) -> None:
        """Replace a reservation by what was really used (which may be more)."""
        ...


class LocalLedger:
    """A ledger for one process."""

    def __init__(self, budget: Budget, *, calls: int = 0, tokens: int = 0) -> None:
        """Start with what has been used already (a resumed tree's spend)."""
        self.budget = budget
        self.calls = calls
        """Used and reserved."""
        self.tokens = tokens
        """Used and reserved."""
        self._lock = threading.Lock()

    def reserve(self, *, calls: int = 1, tokens: int = 0) -> Lease | None:
        """Set the amount aside; None when it is not there any more."""
        with self._lock:
            if _over(self.calls + calls, self.budget.calls) or _over(self.tokens + tokens, self.budget.tokens):
                return None
            if self.budget.tokens is not None and self.tokens >= self.budget.tokens:
                return None
            self.calls += calls
            self.tokens += tokens
        return Lease(calls=calls, tokens=tokens)

    def settle(self, lease: Lease, *, calls: int, tokens: int) -> None:
        """Book what was used in place of what was reserved."""
        with self._lock:
            self.calls += calls - lease.calls
            self.tokens += tokens - lease.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class _JointLease(Lease):
    each: tuple[Lease, ...]


class JointLedger:
    """Several ledgers as one: what is spent must fit each of them, such as a tree's own and a job's."""

    def __init__(self, *ledgers: Ledger) -> None:
        """Take the ledgers, which others may spend from, too."""
        self._ledgers = ledgers

    def reserve(self, *, calls: int = 1, tokens: int = 0) -> Lease | None:
        """Set the amount aside in every ledger; None, and nothing set aside, where one has not so much left."""
        granted: list[Lease] = []
        for ledger in self._ledgers:
            lease = ledger.reserve(calls=calls, tokens=tokens)
            if lease is None:
                self._book(granted, calls=0, tokens=0)
                return None
            granted.append(lease)
        return _JointLease(calls=calls, tokens=tokens, each=tuple(granted))

    def settle(self, lease: Lease, *, calls: int, tokens: int) -> None:
        """Book what was used in every ledger; `lease` is one that `reserve` returned."""
        self._book(cast("_JointLease", lease).each, calls=calls, tokens=tokens)

    def _book(self, leases: Sequence[Lease], *, calls: int, tokens: int) -> None:
        for ledger, lease in zip(self._ledgers, leases, strict=False):
            ledger.settle(lease, calls=calls, tokens=tokens)


def _over(amount: int, limit: int | None) -> bool:
    return limit is not None and amount > limit
