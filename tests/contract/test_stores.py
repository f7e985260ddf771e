"""Every store keeps what `StoreContract` promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from critic_loop.core.protocols import Store
from critic_loop.store import MemoryStore, SqliteStore, open_store
from critic_loop.testing.store_contract import StoreContract


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = open_store(f"sqlite:///{tmp_path / 'trees.db'}")
        yield store
        await store.aclose()
        assert names(tmp_path) <= {"trees.db"}, "the log is folded into the file on closing"

    @pytest.fixture
    def again(self, store: Store, tmp_path: Path) -> Callable[[], Store]:
        return lambda: SqliteStore(tmp_path / "trees.db")
