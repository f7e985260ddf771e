"""Reads trees from a SQLite file, on a connection of its own and in one thread.

Knows tables and the codec. Never writes, and never waits for a writer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from critic_loop.core.listing import TreeInfo, TreePage, TreeQuery
from critic_loop.core.records import SCHEMA_VERSION, Ask, Attempt, Call, Feedback, Record
from critic_loop.store import codec, layout, listing
from critic_loop.store.rebuild import KIND_OF, LATE, UNSETTLED, record_of, version_in, with_bytes
from critic_loop.store.texts import StoredTexts
from critic_loop.store.tree_ids import TreeIds


class TreeInFile(NamedTuple):
    """The state of a tree in the file."""

    ids: TreeIds
    length: int
    """The number of records."""
    run_length: int
    """The number of records up to and including the last one that is not late feedback."""
    owner: str
    """The token of the store object that may write it."""


class Reader:
    """The reader of a store object; opens the file on first use."""

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self._path = path
        self._db: sqlite3.Connection | None = None

    def records(self, tree: str) -> list[Record] | None:
        """Return all records of a tree in order, with the bytes of their blobs; None if the tree is missing."""
        with self._snapshot() as db:
            ref = _ref(db, tree)
            if ref is None:
                return None
            texts, records, version = StoredTexts(db), list[Record](), SCHEMA_VERSION
            for kind, line in _lines(db, ref):
                fields = codec.loads(line, tree, texts.get)
                version = version if records else version_in(fields)
                records.append(with_bytes(record_of(kind, fields, tree, version), texts.blob))
            return records

    def state(self, tree: str) -> TreeInFile | None:
        """Return the ids, lengths and owner of a tree; None if there is no such tree."""
        with self._snapshot() as db:
            row = db.execute("SELECT id, owner FROM trees WHERE tree = ?", (tree,)).fetchone()
            if row is None:
                return None
            ref, owner = row
            get, ids, length, run_length = StoredTexts(db).get, TreeIds(), 0, 0
            for kind, line in _lines(db, ref):
                length += 1
                run_length = run_length if kind == LATE else length
                _add_id(ids, kind, partial(codec.pick, line, tree, get))
            return TreeInFile(ids, length, run_length, owner)

    def has(self, tree: str) -> bool:
        """Return whether the tree exists."""
        with self._snapshot() as db:
            return _ref(db, tree) is not None

    def page(self, after: int, recipe: str | None, task: str | None) -> list[tuple[int, TreeInfo]]:
        """Return a page of the listing of trees, each with its row id.

        Args:
            after: the row id of the last tree of the page before; 0 = from the beginning.
            recipe: only trees of this recipe; None = of any.
            task: only trees of the task with this id; None = of any.
        """
        with self._snapshot() as db:
            return listing.page(db, after, recipe, task)

    def find(self, query: TreeQuery) -> TreePage:
        """Return a page of the trees that a query finds."""
        with self._snapshot() as db:
            return listing.find(db, query)

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @contextmanager
    def _snapshot(self) -> Generator[sqlite3.Connection]:
        """Open a read transaction: all queries in it see the file at one moment."""
        try:
            if self._db is None:
                self._db = layout.connect(self._path, create=False)
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                with suppress(sqlite3.Error):
                    self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise layout.sqlite_error(f"read {self._path}", error) from error


def _add_id(ids: TreeIds, kind: str, pick: Callable[..., dict[str, Any]]) -> None:
    match KIND_OF.get(kind):
        case cls if cls is Ask:
            ids.asked.add(pick("attempt")["attempt"])
        case cls if cls is Attempt:
            ids.settled[pick("id")["id"]] = kind != UNSETTLED
        case cls if cls is Feedback:
            ids.feedback.add(pick("id")["id"])
        case cls if cls is Call:
            ids.calls.add(pick("id")["id"])
        case _:
            pass


def _ref(db: sqlite3.Connection, tree: str) -> int | None:
    row = db.execute("SELECT id FROM trees WHERE tree = ?", (tree,)).fetchone()
    return None if row is None else row[0]


def _lines(db: sqlite3.Connection, ref: int) -> Iterator[tuple[str, str]]:
    """Yield the records of a tree in order, each as the letter of its kind and its packed JSON."""
    for kinds, body in db.execute("SELECT kinds, body FROM records WHERE tree = ? ORDER BY seq", (ref,)):
        yield from zip(kinds, body.split("\n"), strict=True)
