"""Old files open for ever; migrations run once, in order, or not at all."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from critic_loop.core.errors import StoreError
from critic_loop.core.records import Feedback
from critic_loop.store import layout
from critic_loop.store.sqlite import SqliteStore
from critic_loop.testing.store_contract import listed, move

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = ("gate", "image", "chinese", "multi-critique")
"""The trees in v1.db, as they were when it was made (see make_golden.py)."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_files_of_version_1_open_for_ever(tmp_path: Path) -> None:
    """The file was written once and is never written again: what it holds is spelled out here."""
    shutil.copy(GOLDEN / "v1.db", tmp_path / "v1.db")
    store = SqliteStore(tmp_path / "v1.db")
    infos = await listed(store)
    assert tuple((i.id, i.attempts, i.stop) for i in infos) == (
        ("gate", 2, "accepted"),
        ("image", 2, "accepted"),
        ("chinese", 2, "verified"),
        ("multi-critique", 1, "max_rounds"),
    )
    gate, image, chinese, critiques = [await store.load(name) for name in EXPECTED]
    assert [len(tree.log) for tree in (gate, image, chinese, critiques)] == [20, 17, 16, 34]
    assert gate["gate.2"].messages[0].tool_calls[0].arguments == {"command": "rm -rf /tmp/build"}
    assert gate.feedback["gate.f1"].suggestion == "rm -rf /tmp/build"
    assert image.task.prompt[0].blobs[0].data is not None
    assert image.task.prompt[0].blobs[0].data.startswith(b"\x89PNG")
    assert chinese.task.reference == "鸡23,兔12"
    assert chinese.feedback["chinese.f2"].text == "第二步计算有误。" * 20
    assert critiques.feedback["multi-critique.f9"].rests_on == ("multi-critique.f1", "multi-critique.f2")
    assert {len(tree.replies) for tree in (gate, image, chinese, critiques)} == {4, 3, 10}
    await store.add_feedback("gate.2", Feedback.user(score=1.0))
    await store.append("gate", *move("gate", 3))
    await store.aclose()


def connection(path: Path) -> sqlite3.Connection:
    return layout.connect(path, create=True)


def test_a_commit_is_on_disk(tmp_path: Path) -> None:
    for create in (True, False):
        db = layout.connect(tmp_path / "x.db", create=create)
        settings = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
        assert settings == ["wal", 2], "2 is FULL: the log is synchronised at each commit"
        assert db.execute("PRAGMA page_size").fetchone() == (layout.PAGE_BYTES,)
        db.close()


def test_migrations_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = connection(tmp_path / "x.db")
    layout.migrate(db)
    third = "ALTER TABLE trees ADD COLUMN extra; CREATE TABLE new (a)"
    monkeypatch.setattr(layout, "MIGRATIONS", (*layout.MIGRATIONS, third))
    monkeypatch.setattr(layout, "VERSION", 3)
    layout.migrate(db)
    layout.migrate(db)
    assert layout.version_of(db) == 3
    assert db.execute("SELECT extra FROM trees").fetchall() == db.execute("SELECT a FROM new").fetchall() == []
    db.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = connection(tmp_path / "x.db")
    layout.migrate(db)
    monkeypatch.setattr(layout, "MIGRATIONS", (*layout.MIGRATIONS, "CREATE TABLE new (a); NONSENSE"))
    monkeypatch.setattr(layout, "VERSION", 3)
    with pytest.raises(sqlite3.OperationalError):
        layout.migrate(db)
    assert layout.version_of(db) == 2
    assert not db.in_transaction
    db.close()


def test_a_file_without_version_is_refused(tmp_path: Path) -> None:
    db = connection(tmp_path / "x.db")
    db.execute("CREATE TABLE trees (key TEXT, value TEXT)")
    with pytest.raises(StoreError, match="not a store of critic_loop"):
        layout.migrate(db)
    db.close()


def test_switching_to_the_log_waits_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    lock.execute("CREATE TABLE t (a)")
    lock.execute("BEGIN")
    lock.execute("SELECT * FROM t")
    monkeypatch.setattr(layout, "BUSY_TIMEOUT_S", 0.1)
    with pytest.raises(StoreError, match="locked"):
        connection(tmp_path / "x.db")
    lock.execute("COMMIT")
    lock.close()
    connection(tmp_path / "x.db").close()


@pytest.mark.anyio
async def test_a_file_that_stays_locked_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BUSY_TIMEOUT_S", 0.05)
    lock = connection(tmp_path / "x.db")
    lock.execute("BEGIN IMMEDIATE")
    store = SqliteStore(tmp_path / "x.db")
    with pytest.raises(StoreError, match=r"cannot open .*Another process has locked the file"):
        await store.append("t", *move("t", 1))
    await store.aclose()
    lock.close()


def test_unknown_errors_still_say_what_is_safe() -> None:
    assert (
        str(layout.sqlite_error("write x", sqlite3.Error("odd")))
        == "cannot write x: odd. Committed records are safe."
    )
