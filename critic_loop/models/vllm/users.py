"""The models on a server, their adapters, and their calls in flight.

Knows nothing of servers. May be used from several threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock
from typing import Protocol
from weakref import WeakSet

from critic_loop.models.vllm.adapters import Adapter


class User(Protocol):
    """A model on a server."""

    @property
    def adapter(self) -> Adapter | None:
        """The adapter that it uses; None = the server's own weights."""
        ...


class Users:
    """The models on one server, as long as they have not been closed."""

    def __init__(self) -> None:
        """Begin with none."""
        self._users: WeakSet[User] = WeakSet()
        self._calls: Counter[int] = Counter()
        self._lock = Lock()

    @property
    def are_there(self) -> bool:
        """Whether there are models on it that have not been closed."""
        with self._lock:
            return bool(self._users)

    def adapters(self) -> list[Adapter]:
        """Return those of the models."""
        with self._lock:
            return [user.adapter for user in self._users if user.adapter is not None]

    def join(self, user: User) -> None:
        """Add a model; for an adapter that does not fit on the server, the server is restarted.

        That waits until no call is in flight.
        """
        with self._lock:
            self._users.add(user)

    def leave(self, user: User) -> None:
        """Remove a model that is closed."""
        with self._lock:
            self._users.discard(user)

    def forget(self) -> None:
        """Remove all models."""
        with self._lock:
            self._users.clear()

    @contextmanager
    def called_by(self, user: User) -> Generator[None, None, None]:
        """Count a call of a model as in flight."""
        with self._lock:
            self._calls[id(user)] += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls[id(user)] -= 1

    def in_flight(self, user: User | None = None) -> int:
        """Return the number of calls, of all models or of one."""
        with self._lock:
            return self._calls.total() if user is None else self._calls[id(user)]
