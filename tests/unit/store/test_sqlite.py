"""What a file adds to the contract: crashes, full disks, several processes, size."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from benchmarks.store_bytes import write as write_as_a_loop
from critic_loop.core.errors import StoreError, WriteConflict
from critic_loop.core.messages import Image, user
from critic_loop.core.records import Ask, Attempt, Event, Feedback, Outcome, Record, Subject
from critic_loop.store import layout, sqlite, texts, writer
from critic_loop.store.sqlite import SqliteStore
from critic_loop.testing.store_contract import elsewhere, head, listed, move

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trees.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    await store.aclose()


@pytest.fixture
async def other(path: Path) -> AsyncIterator[SqliteStore]:
    """A second store on the file, as another process would open it."""
    store = SqliteStore(path)
    yield store
    await store.aclose()


def python(code: str, *args: object) -> subprocess.Popen[str]:
    """Start Python on `code` beside the tests."""
    program = [sys.executable, "-c", PRELUDE + textwrap.dedent(code), *map(str, args)]
    return subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


PRELUDE = """
import asyncio, sys
sys.path.insert(0, ".")
from critic_loop.core.records import *
from critic_loop.store import open_store
from critic_loop.testing.store_contract import head, move
"""


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def exists(path: Path) -> bool:
    return path.exists()


def size(path: Path) -> int:
    return path.stat().st_size


def damage(path: Path, sql: str) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute(sql)
    db.close()


# -- crashes -----------------------------------------------------------------------------------


async def test_kill_loses_nothing_acknowledged(path: Path) -> None:
    child = python(
        """
        async def grow(store, tree):
            await store.append(tree, head(tree), durable=False)
            for number in range(1, 100_000):
                ask, attempt = move(tree, number, text=f"{tree} {number} " * 200)
                await store.append(tree, ask, durable=False)
                await store.append(tree, attempt)
                print(attempt.id, flush=True)

        async def main():
            store = open_store(f"sqlite:///{sys.argv[1]}")
            await asyncio.gather(*(grow(store, f"t{n}") for n in range(8)))

        asyncio.run(main())
        """,
        path,
    )
    assert child.stdout is not None
    acknowledged = [child.stdout.readline().strip() for _ in range(400)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in child.stdout.readlines() if line.endswith("\n")]
    child.wait()
    child.communicate()
    store = SqliteStore(path)
    trees = {info.id: await store.load(info.id) async for info in store.trees()}
    assert len(trees) == 8
    for attempt in acknowledged:
        tree = trees[attempt.partition(".")[0]]
        assert tree[attempt].messages[0].text == " ".join((tree.id, attempt.partition(".")[2], "")) * 200
    for tree in trees.values():
        assert len(tree.log) in (1 + 2 * len(tree), 2 + 2 * len(tree)), "at most one ask stands alone"
    await store.append("t0", Outcome(stop="resumed"))
    await store.aclose()


async def test_leaving_without_closing_writes_what_is_queued(path: Path) -> None:
    child = python(
        """
        async def main():
            store = open_store(sys.argv[1])
            await store.append("t", head("t"), durable=False)
            for number in range(1, 500):
                await store.append("t", *move("t", number), durable=False)

        asyncio.run(main())
        """,
        path,
    )
    _, errors = child.communicate(timeout=30)
    assert (child.returncode, errors) == (0, "")
    store = SqliteStore(path)
    assert len(await store.load("t")) == 499
    await store.aclose()


async def test_first_appends_to_a_stored_tree_keep_their_order(
    store: SqliteStore, other: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between them would leave a gap: ids of calls follow from how many there are."""
    await store.append("t", head("t"), *move("t", 1))
    await other.load("t")
    reads, go_on, state = 0, threading.Event(), other._reader.state

    def second_read_is_slow(tree_id: str) -> object:
        nonlocal reads
        reads += 1
        assert reads != 2 or go_on.wait(30)
        return state(tree_id)

    monkeypatch.setattr(other._reader, "state", second_read_is_slow)
    appends = [asyncio.ensure_future(other.append("t", *move("t", number))) for number in (2, 3)]
    while "t" not in other._ids:
        await asyncio.sleep(0.001)
    appends.append(asyncio.ensure_future(other.append("t", *move("t", 4))))
    await asyncio.wait(appends[2:], timeout=0.05)
    go_on.set()
    await asyncio.gather(*appends)
    assert list((await store.load("t")).attempts) == ["t.1", "t.2", "t.3", "t.4"]


# -- several processes -------------------------------------------------------------------------


async def test_another_process_reads_and_adds_feedback_while_we_write(store: SqliteStore, path: Path) -> None:
    await store.append("t", head("t"), *move("t", 1))
    child = python(
        """
        async def main():
            store = open_store(sys.argv[1])
            tree = await store.load("t")
            for _ in range(20):
                await store.add_feedback(tree.roots[0], Feedback.user(score=0.5, text="seen"))
            await store.aclose()

        asyncio.run(main())
        """,
        path,
    )
    tree = await store.load("t")
    number = 1
    while child.poll() is None or number < 30:
        number += 1
        opinion = Feedback(id=tree.next_feedback_id(), subject=Subject.of("t.1"), text="ours")
        tree.append(opinion)
        await store.append("t", *move("t", number, 1), opinion)
    assert child.communicate() == ("", "")
    loaded = await store.load("t")
    assert [a.id for a in loaded] == [f"t.{n}" for n in range(1, number + 1)]
    assert sum(f.text == "seen" for f in loaded.about("t.1")) == 20
    assert sum(f.text == "ours" for f in loaded.about("t.1")) == number - 1


async def test_processes_that_create_the_file_at_once(path: Path) -> None:
    code = """
    async def main():
        store = open_store(sys.argv[1])
        await store.append(sys.argv[2], head(sys.argv[2]))
        await store.aclose()

    asyncio.run(main())
    """
    children = [python(code, path, name) for name in "abc"]
    assert [child.communicate(timeout=30) for child in children] == [("", "")] * 3
    assert sorted(query(path, "SELECT tree FROM trees")) == [("a",), ("b",), ("c",)]


async def test_a_second_writer_fences_off_the_first(store: SqliteStore, other: SqliteStore) -> None:
    await store.append("t", head("t"), *move("t", 1))
    await other.load("t")
    await other.append("t", *move("t", 2))
    with pytest.raises(WriteConflict, match="'t' is being written by another process"):
        await store.append("t", *move("t", 2))
    with pytest.raises(StoreError, match="another process"):
        await store.append("t", *move("t", 3), durable=False)
    await store.append("u", head("u"))
    assert len(await store.load("t")) == 2
    await store.append("t", *move("t", 3))  # loaded again, so it takes the tree back
    with pytest.raises(StoreError, match="end the other process, then run again"):
        await other.append("t", *move("t", 3))
    (info, _) = await listed(other)
    assert (info.attempts, len(await other.load("t"))) == (3, 3)


async def test_a_second_writer_who_missed_something_is_refused(store: SqliteStore, other: SqliteStore) -> None:
    await store.append("t", head("t"), *move("t", 1))
    await other.load("t")
    await store.append("t", *move("t", 2))
    with pytest.raises(WriteConflict, match="'t' is being written by another process"):
        await other.append("t", *move("t", 2))
    await store.append("t", *move("t", 3))
    assert len(await store.load("t")) == 3


async def test_late_feedback_is_no_second_writer(store: SqliteStore, other: SqliteStore) -> None:
    await store.append("t", head("t"), *move("t", 1))
    first = await other.add_feedback("t.1", Feedback.user(score=0.0))
    await store.append("t", *move("t", 2))
    await other.load("t")
    second = await store.add_feedback("t.1", Feedback.user(score=1.0))
    await other.append("t", *move("t", 3))  # nothing but feedback came since it loaded
    tree = await store.load("t")
    assert tree.about("t.1") == (first, second)
    assert [type(r).__name__ for r in tree.log[3:]] == [
        "Feedback",
        "Ask",
        "Attempt",
        "Feedback",
        "Ask",
        "Attempt",
    ]


async def test_counts_survive_a_change_of_writer(store: SqliteStore, other: SqliteStore) -> None:
    ask, attempt = move("t", 1)
    await store.append("t", head("t"), ask, attempt.model_copy(update={"status": "partial"}))
    await store.append("t", Outcome(stop="parked"))
    await other.load("t")
    await other.append("t", attempt)
    (info,) = await listed(other)
    assert (info.attempts, info.stop) == (1, "parked")
    await other.append("t", *move("t", 2))
    (info,) = await listed(other)
    assert (info.attempts, info.stop) == (2, None), "it goes on"


async def test_refusals_and_late_feedback_in_one_group(store: SqliteStore, other: SqliteStore) -> None:
    """A writer who is refused does not disturb feedback that is written beside it."""
    await store.append("t", head("t"), *move("t", 1))
    await other.load("t")
    await store.append("t", *move("t", 2))
    for _ in range(3):
        outcomes = await asyncio.gather(
            other.add_feedback("t.1", Feedback.user(score=0.0)),
            other.append("t", *move("t", 3)),
            other.add_feedback("t.1", Feedback.user(score=1.0)),
            return_exceptions=True,
        )
        assert [isinstance(o, StoreError) for o in outcomes] == [False, True, False]
    await store.append("t", *move("t", 3))
    tree = await store.load("t")
    assert (len(tree), len(tree.about("t.1"))) == (3, 6)


async def test_nested_fences(store: SqliteStore) -> None:
    """However deep a model nests them."""
    text = "core " * 50
    for level in range(400):
        text = f"<data {level:016x} x>\n{text}\n</data {level:016x}>"
    await store.append("t", head("t", text=text), *move("t", 1, text=text[:-7]))
    tree = await store.load("t")
    assert tree.task.text == text
    assert tree["t.1"].messages[0].text == text[:-7]


async def test_texts_of_another_writer_are_shared(store: SqliteStore, other: SqliteStore, path: Path) -> None:
    long = "the same text " * 100
    for number in range(3):
        await store.append(
            f"a{number}", head(f"a{number}", text=long), *move(f"a{number}", 1, text=f"a{number}" * 99)
        )
        await other.append(
            f"b{number}", head(f"b{number}", text=long), *move(f"b{number}", 1, text=f"b{number}" * 99)
        )
    assert len(query(path, "SELECT * FROM hashes")) == 7
    for number in range(3):
        assert (await store.load(f"b{number}"))[f"b{number}.1"].messages[0].text == f"b{number}" * 99


async def test_reads_and_the_loop_go_on_while_the_file_is_locked(store: SqliteStore, path: Path) -> None:
    await store.append("t", head("t"))
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(store.append("t", *move("t", 1)))
    begun, ticks = time.monotonic(), 0
    while time.monotonic() - begun < 0.2:
        await asyncio.sleep(0.005)
        ticks += 1
    assert ticks > 10
    assert not writing.done()
    lock.execute("COMMIT")
    lock.close()
    await writing
    assert len(await store.load("t")) == 1


async def test_a_lock_that_stays_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BUSY_TIMEOUT_S", 0.05)
    store = SqliteStore(path)
    await store.append("t", head("t"))
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="Another process has locked the file"):
        await store.append("t", *move("t", 1))
    lock.close()
    await store.aclose()


# -- a disk that refuses -----------------------------------------------------------------------


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of at most 64 KB."""
    connect = layout.connect

    def limited(path: Path, *, create: bool, page_bytes: int = 4096) -> sqlite3.Connection:
        connection = connect(path, create=create, page_bytes=page_bytes)
        connection.execute(f"PRAGMA max_page_count = {65536 // page_bytes}")
        return connection

    monkeypatch.setattr(layout, "connect", limited)


@pytest.mark.usefixtures("small_disk")
async def test_a_full_disk_reaches_everybody(path: Path) -> None:
    store = SqliteStore(path, page_bytes=1024)
    await store.append("a", head("a"), *move("a", 1, text="kept"))
    await store.append("b", head("b"))
    big = [move("a", n, text=f"{n}" * 50_000) for n in (2, 3)]
    waiting = [
        store.append("a", *big[0]),
        store.append("b", *move("b", 1, text="x" * 50_000)),
        store.append("a", *big[1]),
    ]
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert any(isinstance(o, StoreError) for o in outcomes)
    for durable in (True, False):
        with pytest.raises(
            StoreError, match=r"full\. Free disk space, then run again\. Committed records are safe"
        ):
            await store.append("b", Event(kind="swap", at=0.0), durable=durable)
    with pytest.raises(StoreError, match="Free disk space"):
        await store.add_feedback("a.1", Feedback.user(score=1.0))
    assert (await store.load("a"))["a.1"].messages[0].text == "kept", "what was committed can be read"
    await store.aclose()
    again = SqliteStore(path)
    written = 1 + sum(o is None for o in (outcomes[0], outcomes[2]))
    assert len(await again.load("a")) == written
    await again.aclose()


@pytest.mark.usefixtures("small_disk")
async def test_bytes_fill_a_disk_too(path: Path) -> None:
    store = SqliteStore(path, page_bytes=1024)
    await store.append("a", head("a"), Ask(attempt="a.1"))
    big = user(Image.of(bytes(100_000), "image/png"))
    with pytest.raises(StoreError, match="Free disk space"):
        await store.append("a", Attempt(id="a.1", messages=(big,)))
    assert len((await store.load("a")).log) == 2
    await store.aclose()


@pytest.mark.usefixtures("small_disk")
async def test_what_nobody_waited_for_is_told_on_closing(path: Path) -> None:
    store = SqliteStore(path, page_bytes=1024)
    await store.append("a", head("a"))
    await store.append("a", *move("a", 1, text="".join(map(str, range(40_000)))), durable=False)
    with pytest.raises(StoreError, match="Free disk space"):
        await store.aclose()
    await store.aclose()


@pytest.mark.usefixtures("small_disk")
async def test_an_error_that_a_caller_got_is_not_raised_again_on_closing(path: Path) -> None:
    """Whatever was queued before it or after it, for any tree: the file is full for all."""
    store = SqliteStore(path, page_bytes=1024)
    await store.append("a", head("a"))
    await store.append("b", head("b"), durable=False)
    await store.append("a", *move("a", 1, text="".join(map(str, range(40_000)))), durable=False)
    with pytest.raises(StoreError, match="Free disk space"):
        await store.append("a", Ask(attempt="a.2"))
    await store.aclose()


async def test_the_error_of_one_tree_does_not_hide_that_of_another(path: Path) -> None:
    store = SqliteStore(path)
    for tree in "ab":
        await store.append(tree, head(tree), Ask(attempt=f"{tree}.1"))
        await store.append(tree, forged(f"{tree}.1"), durable=False)
    with pytest.raises(StoreError, match="do not have its sha256"):
        await store.append("a", *move("a", 2))
    with pytest.raises(StoreError, match="do not have its sha256"):
        await store.aclose()


async def test_files_that_are_no_stores(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at " * 100)
    damage(tmp_path / "foreign.db", "CREATE TABLE other (x)")
    (tmp_path / "folder.db").mkdir()
    for name, says in (
        ("text.db", "this file is not a store"),
        ("foreign.db", "not a store of critic_loop"),
        ("folder.db", "Check the path"),
        ("text.db/below/trees.db", "Check the path"),
    ):
        store = SqliteStore(tmp_path / name)
        with pytest.raises(StoreError, match=says) as caught:
            await store.append("t", head("t"))
        assert name.split("/")[0] in str(caught.value)
        with pytest.raises(StoreError, match=says):
            await store.append("t", head("t"))
        await store.aclose()


async def test_reading_creates_nothing(path: Path) -> None:
    store = SqliteStore(path)
    assert await listed(store) == []
    assert not await store.has("t")
    assert not exists(path)
    await store.aclose()


async def test_a_newer_file_is_refused(store: SqliteStore, path: Path) -> None:
    await store.append("t", head("t"))
    damage(path, "PRAGMA user_version = 3")
    newer = SqliteStore(path)
    says = r"trees.db: the file was written by a newer critic_loop \(schema 3\); this one reads up to 2"
    for _ in range(2):
        with pytest.raises(StoreError, match=says):
            await newer.load("t")
    with pytest.raises(StoreError, match=says):
        await newer.append("t", *move("t", 1))
    await newer.aclose()
    damage(path, "PRAGMA user_version = 2")


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("DELETE FROM texts", "text 1 is missing"),
        ("UPDATE records SET body = '{\"tree\":5}'", "holds a Head that cannot be read"),
        ("UPDATE records SET kinds = 'z'", "unknown kind 'z'"),
        ("DROP TABLE texts", "cannot read .*no such table"),
    ],
)
async def test_damage_is_named(path: Path, sql: str, says: str) -> None:
    store = SqliteStore(path)
    await store.append("t", head("t", text="long " * 100))
    damage(path, sql)
    with pytest.raises(StoreError, match=says):
        await store.load("t")
    await store.aclose()


# -- appends that cannot be --------------------------------------------------------------------


def forged(attempt_id: str = "t.1") -> Record:
    part = Image(sha256="0" * 64, media_type="image/png", data=b"something else")
    return Attempt(id=attempt_id, messages=(user(part),))


async def test_a_refused_record_leaves_no_hole(store: SqliteStore) -> None:
    await store.append("t", head("t"), Ask(attempt="t.1"))
    outcomes = await asyncio.gather(
        store.append("t", *move("t", 2)),
        store.append("t", forged()),
        store.append("t", *move("t", 3)),
        store.append("u", head("u")),
        return_exceptions=True,
    )
    assert [isinstance(o, StoreError) for o in outcomes] == [False, True, True, False]
    assert "do not have its sha256" in str(outcomes[2])
    with pytest.raises(StoreError, match="do not have its sha256"):
        await store.append("t", *move("t", 3))
    await store.add_feedback("t.2", Feedback.user(score=1.0))  # late feedback stands by itself
    tree = await store.load("t")
    assert [*tree.asks] == ["t.1", "t.2"]
    await store.append("t", *move("t", 3))  # loaded: whoever goes on knows what is there
    assert len(await store.load("t")) == 2


async def test_an_error_nobody_waited_for_is_told_next_time(path: Path) -> None:
    store = SqliteStore(path)
    await store.append("t", head("t"), Ask(attempt="t.1"))
    await store.append("t", forged(), durable=False)
    with pytest.raises(StoreError, match="do not have its sha256"):
        await store.append("t", *move("t", 2))
    await store.append("x", *move("x", 2), durable=False)
    with pytest.raises(StoreError, match="no tree 'x'"):
        await store.aclose()


async def test_what_json_cannot_hold(store: SqliteStore) -> None:
    await store.append("t", head("t"))
    data = {"huge": 2**200, "inf": float("inf"), "odd": "\ud800" * 200, "\udfff": 1, "big": 2**63}
    await store.append("t", Event(kind="error", at=0.0, data=data))
    assert (await store.load("t")).events[0].data == data
    deep: list[object] = []
    for _ in range(400):
        deep = [deep]
    with pytest.raises(StoreError, match="cannot be written"):
        await store.append("t", Event.model_construct(kind="error", at=0.0, data={"deep": deep}))


async def test_a_fault_of_the_writer_reaches_those_who_wait(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(path)
    await store.append("t", head("t"))

    def broken(self: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(writer.Writer, "_flush", broken)
    with pytest.raises(StoreError, match="KeyError: 'a bug'"):
        await store.append("t", *move("t", 1))
    monkeypatch.undo()
    await store.aclose()
    again = SqliteStore(path)
    assert len(await again.load("t")) == 0
    await again.append("t", *move("t", 1))
    await again.aclose()


async def test_a_closed_store_says_so(path: Path) -> None:
    store = SqliteStore(path)
    await store.append("t", head("t"))
    await store.aclose()
    await store.aclose()
    for work in (store.append("t", *move("t", 1)), store.load("t"), store.has("t")):
        with pytest.raises(StoreError, match=r"is closed\. Open the store again"):
            await work


async def test_a_loop_that_ended_is_not_waited_for(store: SqliteStore, path: Path) -> None:
    """An event loop that closes with appends under way disturbs nobody."""
    lock = sqlite3.connect(path, isolation_level=None)
    await store.append("t", head("t"))
    lock.execute("BEGIN IMMEDIATE")

    async def gone() -> None:
        asyncio.ensure_future(store.append("t", *move("t", 1)))  # noqa: RUF006
        await asyncio.sleep(0)

    await asyncio.to_thread(lambda: asyncio.run(gone()))
    lock.execute("COMMIT")
    lock.close()
    assert len(await store.load("t")) == 1


# -- groups, bounds, size ----------------------------------------------------------------------


async def test_commits_are_shared_across_trees(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    write = writer.Writer.write

    def counted(self: writer.Writer, jobs: Sequence[writer.Job]) -> StoreError | None:
        groups.append(len(jobs))
        return write(self, jobs)

    monkeypatch.setattr(writer.Writer, "write", counted)
    await asyncio.gather(*(store.append(f"t{n}", head(f"t{n}")) for n in range(500)))
    assert sum(groups) == 500
    assert len(groups) < 50


async def test_a_long_queue_slows_down_who_does_not_wait(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_MAX_QUEUED_JOBS", 3)
    await store.append("t", head("t"))
    longest = 0
    for number in range(1, 200):
        await store.append("t", *move("t", number), durable=False)
        longest = max(longest, store._queue.qsize())
    assert longest <= 4


async def test_little_is_kept_at_hand(store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_MAX_TREES_CACHED", 2)
    monkeypatch.setattr(texts, "_MAX_HASHES_CACHED", 2)
    names = [f"t{n}" for n in range(6)]
    for name in names:
        await store.append(name, head(name))
    for number in range(1, 4):
        for name in names:
            await store.append(name, *move(name, number, text=f"{number} for all " * 30))
    assert [info.attempts for info in await listed(store)] == [3] * 6
    assert len(query(path, "SELECT * FROM hashes")) == 3
    assert [t.messages[0].text[:9] for t in await store.load("t5")] == ["1 for all", "2 for all", "3 for all"]


async def test_texts_are_kept_once(store: SqliteStore, path: Path) -> None:
    answer = "".join(f"{n} " for n in range(3000))
    quoted = f"Look:\n<data 0123456789abcdef answer>\n{answer}\n</data 0123456789abcdef>\nIs it right?"
    for name in ("a", "b"):
        await store.append(
            name, head(name, text=quoted), *move(name, 1, text=answer), *move(name, 2, text=quoted)
        )
        critique = Feedback(id=f"{name}.f1", subject=Subject.of(f"{name}.1"), text=answer[500:9000])
        await store.append(name, critique)
    ((chars,),) = query(path, "SELECT sum(length(body)) FROM texts")
    assert len(answer) < chars < len(answer) + 300  # type: ignore[operator]
    for name in ("a", "b"):
        tree = await store.load(name)
        assert tree.feedback[f"{name}.f1"].text == answer[500:9000]
        assert tree.task.text == tree[f"{name}.2"].messages[0].text == quoted


async def test_a_file_is_little_larger_than_its_text(path: Path) -> None:
    """Distinct replies of 4,096 bytes, critiques cut out of replies, prompts that quote: at most 1.3 times."""
    store, trees = SqliteStore(path), 150
    await write_as_a_loop(store, trees=trees, in_flight=64, chars=4096)
    await store.aclose()
    pages = 11 * layout.PAGE_BYTES  # one for each table, however small
    assert size(path) < 1.3 * (trees * (4 * 4096 + 400)) + pages


async def test_names(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/new/trees.db")
    assert store.where == f"sqlite:///{tmp_path}/new/trees.db"
    assert re.fullmatch(r"SqliteStore\('.*/new/trees.db'\)", repr(store))
    await store.append("t", head("t"))
    assert exists(tmp_path / "new" / "trees.db")
    await store.aclose()


async def test_a_durable_append_of_nothing_waits_for_all_before_it(store: SqliteStore, path: Path) -> None:
    await store.append("t", head("t"), durable=False)
    await store.append("t", *move("t", 1), durable=False)
    await store.append("t", durable=True)
    other = SqliteStore(path)
    assert len((await other.load("t")).log) == 1 + len(move("t", 1))
    await other.aclose()


async def test_what_nobody_waits_for_is_written_soon_all_the_same(store: SqliteStore, path: Path) -> None:
    await store.append("t", head("t"))
    await store.append("t", *move("t", 1), durable=False)
    await asyncio.sleep(0.1)
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM records").fetchone()[0] > 1
    db.close()


async def test_first_use_from_several_threads(tmp_path: Path) -> None:
    """Whoever reads while another thread's append is still creating the file waits for it."""
    for number in range(20):
        store = SqliteStore(tmp_path / f"{number}.db")

        async def use(name: str, store: SqliteStore = store) -> bool:
            found = await store.has(name)
            await store.append(name, head(name))
            return not found and await store.has(name)

        works = (elsewhere(lambda name=name: use(name)) for name in "abcdefgh")
        assert all(await asyncio.gather(*works))
        await store.aclose()


async def test_a_writer_that_has_begun_but_not_opened_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between the thread's start and its first job is no time to read the file."""
    store = SqliteStore(path)
    began = threading.Thread.start
    found: list[object] = []

    def start(thread: threading.Thread) -> None:
        began(thread)
        if thread.name == "critic-loop-write":
            time.sleep(0.2)

    monkeypatch.setattr(threading.Thread, "start", start)
    writing = elsewhere(lambda: store.append("t", head("t")))

    async def later() -> None:
        await asyncio.sleep(0.1)
        found.append(await store.has("u"))

    await asyncio.gather(writing, elsewhere(later))
    assert found == [False]
    await store.aclose()


async def test_what_is_known_of_trees_is_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_MAX_TREES_CACHED", 3)
    for number in range(9):
        await store.append(f"t{number}", head(f"t{number}"))
    assert [*store._ids] == ["t6", "t7", "t8"]
    await store.append("t8", Outcome(stop="done"))
    assert [*store._ids] == ["t6", "t7"]
    await store.append("t0", *move("t0", 1))
    with pytest.raises(StoreError, match=r"'t0\.1' was asked for already"):
        await store.append("t0", *move("t0", 1))


async def test_ids_may_be_long(path: Path) -> None:
    tree = "x" * 128
    store = SqliteStore(path)
    await store.append(tree, head(tree), *move(tree, 1), Outcome())
    with pytest.raises(StoreError, match="was asked for already"):
        await store.append(tree, *move(tree, 1))
    await store.aclose()
