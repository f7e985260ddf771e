"""How places are named, and what importing costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import critic_loop.store
from critic_loop.core.errors import ConfigError
from critic_loop.store import MemoryStore, SqliteStore, open_store


@pytest.mark.parametrize("where", [None, "memory", ":memory:", "sqlite://", "sqlite:///:memory:"])
def test_memory(where: str | None) -> None:
    store = open_store(where)
    assert isinstance(store, MemoryStore)
    assert store.where == "memory"
    assert repr(store) == "MemoryStore(0 trees)"


@pytest.mark.parametrize(
    ("where", "file"),
    [
        ("sqlite:///trees.db", "trees.db"),
        ("sqlite:////tmp/trees", "/tmp/trees"),
        ("a/trees.db", "a/trees.db"),
        (Path("b/trees"), "b/trees"),
        ("trees.sqlite3", "trees.sqlite3"),
    ],
)
def test_files(where: str | Path, file: str) -> None:
    store = open_store(where)
    assert isinstance(store, SqliteStore)
    assert store.where == f"sqlite:///{file}"


def test_a_store_is_returned_as_it_is() -> None:
    store = MemoryStore()
    assert open_store(store) is store


@pytest.mark.parametrize("where", ["postgresql://host/db", "trees", "", "sqlite:/x.db2"])
def test_what_is_no_store(where: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///PATH"):
        open_store(where)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ConfigError) as raised:
        open_store("postgresql://u:hun/ter2@h/db?password=zzz")
    assert "'postgresql://…@h/db?…' names no store" in str(raised.value)


def test_the_message_names_the_scheme() -> None:
    with pytest.raises(ConfigError, match="unknown scheme 'redis'"):
        open_store("redis://x")


def test_names() -> None:
    assert all(getattr(critic_loop.store, name) for name in critic_loop.store.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = critic_loop.store.Nothing


def test_importing_is_light() -> None:
    heavy = ("sqlite3", "asyncio", "langgraph", "httpx")
    code = f"import sys, critic_loop.store; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
