"""Where trees are kept: memory and SQLite.

Knows how a place is named. A store is append-only and the only truth; see `critic_loop.core.protocols.Store`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from critic_loop.core.protocols import Store
    from critic_loop.store.memory import MemoryStore
    from critic_loop.store.sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore", "open_store"]


def open_store(where: str | Path | Store | None = None) -> Store:
    """Return the store that `where` names; a store is returned as it is.

    Args:
        where: None or `memory` (kept in memory, as is `:memory:`), a path, or `sqlite:///path`.

    Raises:
        ConfigError: it names no kind of store that is known.
    """
    from critic_loop.core.errors import ConfigError
    from critic_loop.core.printable import without_secrets
    from critic_loop.store.memory import MemoryStore
    from critic_loop.store.sqlite import SqliteStore

    if where is None or where in ("memory", ":memory:", "sqlite://", "sqlite:///:memory:"):
        return MemoryStore()
    if isinstance(where, Path):
        return SqliteStore(where)
    if not isinstance(where, str):
        return where
    scheme, separator, _ = where.partition("://")
    if where.startswith("sqlite:///") or (not separator and where.endswith((".db", ".sqlite", ".sqlite3"))):
        return SqliteStore(where)
    raise ConfigError(
        f"{without_secrets(where)!r} names no store{f': unknown scheme {scheme!r}' if separator else ''}.",
        hint="Known are `memory`, `sqlite:///PATH`, and paths that end in .db, .sqlite or .sqlite3.",
    )


def __getattr__(name: str) -> Any:
    """Load a store's class on first use."""
    if name == "MemoryStore":
        from critic_loop.store.memory import MemoryStore

        return MemoryStore
    if name == "SqliteStore":
        from critic_loop.store.sqlite import SqliteStore

        return SqliteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
