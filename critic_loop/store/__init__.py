"""Stores of trees: in memory and in SQLite files.

`open_store` opens a store by name. A store is append-only and the single source of truth; what it promises is
in `critic_loop.core.protocols.Store`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from critic_loop.core.lazy import lazy
from critic_loop.store.opening import open_store

if TYPE_CHECKING:
    from critic_loop.store.memory import MemoryStore
    from critic_loop.store.sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore", "open_store"]
__getattr__ = lazy(__name__, {"memory": ("MemoryStore",), "sqlite": ("SqliteStore",)})
