"""Opens the store that a name or a path stands for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from critic_loop.core.errors import ConfigError
from critic_loop.core.printable import without_secrets

if TYPE_CHECKING:
    from critic_loop.core.protocols import Store


def open_store(where: str | Path | Store | None = None) -> Store:
    """Return the store that `where` names; a store is returned unchanged.

    Args:
        where: None, `memory` or `:memory:` (a store in memory), a path, or `sqlite:///path`.

    Raises:
        ConfigError: the name has an unknown scheme or file extension.
    """
    if where is None or where in ("memory", ":memory:", "sqlite://", "sqlite:///:memory:"):
        from critic_loop.store.memory import MemoryStore

        return MemoryStore()
    if not isinstance(where, str | Path):
        return where
    scheme, separator, _ = str(where).partition("://")
    is_file = not separator and str(where).endswith((".db", ".sqlite", ".sqlite3"))
    if isinstance(where, Path) or where.startswith("sqlite:///") or is_file:
        from critic_loop.store.sqlite import SqliteStore

        return SqliteStore(where)
    raise ConfigError(
        f"{without_secrets(where)!r} names no store{f': unknown scheme {scheme!r}' if separator else ''}.",
        hint="Write `memory`, `sqlite:///PATH`, or a path that ends in .db, .sqlite or .sqlite3.",
    )
