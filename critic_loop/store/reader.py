"""Reads trees out of a SQLite file, on a connection of its own. Lives in one thread.

Knows tables and the codec. Never writes, and never waits for a writer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from critic_loop.core.errors import StoreError
from critic_loop.core.protocols import TreeInfo
from critic_loop.core.records import SCHEMA_VERSION, Ask, Attempt, Call, Feedback, Record
from critic_loop.store import codec, layout
from critic_loop.store.known import Known
from critic_loop.store.rebuild import KIND_OF, LATE, UNSETTLED, record_of, version_in, with_bytes

_PAGE = 500


class Begun(NamedTuple):
    """A tree as it is in the file."""

    known: Known
    length: int
    """How many records it has."""
    grown: int
    """How many of them there are up to the last that is not late feedback."""
    owner: str
    """Which store object writes it."""


class Reader:
    """The one reader of a store object; opens the file when it is first asked."""

    def __init__(self, path: Path) -> None:
        """Remember the path."""
        self._path = path
        self._db: sqlite3.Connection | None = None

    def records(self, tree: str) -> list[Record] | None:
        """Return all records of a tree in order, with the bytes of their blobs; None if there is none."""
        with self._snapshot() as db:
            ref = _ref(db, tree)
            if ref is None:
                return None
            texts, records, version = _Texts(db), list[Record](), SCHEMA_VERSION
            for kind, line in _lines(db, ref):
                fields = codec.loads(line, tree, texts.get)
                version = version if records else version_in(fields)
                records.append(with_bytes(record_of(kind, fields, tree, version), texts.blob))
            return records

    def known(self, tree: str) -> Begun | None:
        """Return what a tree has, by ids, and who writes it; None if there is none."""
        with self._snapshot() as db:
            row = db.execute("SELECT id, owner FROM trees WHERE tree = ?", (tree,)).fetchone()
            if row is None:
                return None
            ref, owner = row
            get, known, length, grown = _Texts(db).get, Known(), 0, 0
            for kind, line in _lines(db, ref):
                length += 1
                grown = grown if kind == LATE else length
                _take_up(known, kind, partial(codec.pick, line, tree, get))
            return Begun(known, length, grown, owner)

    def has(self, tree: str) -> bool:
        """Return whether there is such a tree."""
        with self._snapshot() as db:
            return _ref(db, tree) is not None

    def page(self, after: int, recipe: str | None, task: str | None) -> list[tuple[int, TreeInfo]]:
        """Return some lines about trees after the one of this number, each with its number."""
        query = (
            "SELECT id, tree, task, recipe, created_at, attempts, stop FROM trees"
            " WHERE id > ? AND (? IS NULL OR recipe = ?) AND (? IS NULL OR task = ?) ORDER BY id LIMIT ?"
        )
        with self._snapshot() as db:
            rows = db.execute(query, (after, recipe, recipe, task, task, _PAGE)).fetchall()
        return [
            (number, TreeInfo(id=tree, task=of, recipe=by, created_at=at, attempts=n, stop=stop))
            for number, tree, of, by, at, n, stop in rows
        ]

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @contextmanager
    def _snapshot(self) -> Generator[sqlite3.Connection]:
        """Show the file as it is at one moment."""
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
            raise layout.cannot(f"read {self._path}", error) from error


class _Texts:
    """Texts and blobs of one snapshot; each is read once."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._texts: dict[int, str] = {}

    def get(self, number: int) -> str:
        text = self._texts.get(number)
        if text is None:
            made, body = self._row(number)
            text = self._texts[number] = codec.join(body, self.get) if made else body
        return text

    def _row(self, number: int) -> tuple[int, str]:
        row = self._db.execute("SELECT made, more, body FROM texts WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise StoreError(f"text {number} is missing: the file is damaged.")
        made, more, body = row
        if more:
            query = "SELECT body FROM texts WHERE id > ? AND id <= ? ORDER BY id"
            body += "".join(rest for (rest,) in self._db.execute(query, (number, number + more)))
        return made, body

    def blob(self, sha256: str) -> bytes | None:
        row = self._db.execute("SELECT data FROM blobs WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else row[0]


def _take_up(known: Known, kind: str, pick: Callable[..., dict[str, Any]]) -> None:
    match KIND_OF.get(kind):
        case cls if cls is Ask:
            known.asked.add(pick("attempt")["attempt"])
        case cls if cls is Attempt:
            known.arrived[pick("id")["id"]] = kind != UNSETTLED
        case cls if cls is Feedback:
            known.said.add(pick("id")["id"])
        case cls if cls is Call:
            known.calls.add(pick("id")["id"])
        case _:
            pass


def _ref(db: sqlite3.Connection, tree: str) -> int | None:
    row = db.execute("SELECT id FROM trees WHERE tree = ?", (tree,)).fetchone()
    return None if row is None else row[0]


def _lines(db: sqlite3.Connection, ref: int) -> Iterator[tuple[str, str]]:
    """Iterate over the records of a tree in order: a letter for the kind, and packed JSON."""
    for kinds, body in db.execute("SELECT kinds, body FROM records WHERE tree = ? ORDER BY seq", (ref,)):
        yield from zip(kinds, body.split("\n"), strict=True)
