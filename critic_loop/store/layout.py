"""The tables of a SQLite store, and how older files become current ones.

Knows SQL. Does not know records. Every table only ever grows at its end, except `hashes`.

    trees     a line about each tree, for listings; `owner` is the store object that writes it
    records   the records in the order of arrival. A row holds those of one tree that were written at once:
              `kinds` a letter for each, `body` a line of packed JSON for each (see `codec`), `seq` how many
              of the tree came before
    texts     long texts, each once; `made` = 1: put together of other texts; `more`: so many of the rows
              that follow go on with it (short rows fill pages well, whatever the length of texts)
    hashes    where a text of this BLAKE2b hash is
    blobs     bytes of images and files
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from critic_loop.core.errors import StoreError

V1 = """
CREATE TABLE trees (
    id INTEGER PRIMARY KEY, tree TEXT NOT NULL UNIQUE, task TEXT NOT NULL, recipe TEXT NOT NULL,
    created_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, stop TEXT, owner TEXT NOT NULL
);
CREATE TABLE records (
    id INTEGER PRIMARY KEY, tree INTEGER NOT NULL, seq INTEGER NOT NULL, kinds TEXT NOT NULL, body TEXT NOT NULL
);
CREATE UNIQUE INDEX place ON records (tree, seq);
CREATE TABLE texts (id INTEGER PRIMARY KEY, made INTEGER NOT NULL, more INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE hashes (hash BLOB PRIMARY KEY, text INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE blobs (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
"""

MIGRATIONS = (V1,)
"""The n-th turns a file of version n into one of version n + 1. Append only."""

VERSION = len(MIGRATIONS)
APPLICATION_ID = 0x43726C70
"""Tells a file of ours from any other database ('Crlp'); the version stands in `user_version`."""
PAGE_BYTES = 32_768
"""Texts of a few thousand characters fill large pages well and small ones badly."""
WAL_BYTES = 16_000_000
BUSY_TIMEOUT_S = 30.0


def connect(path: Path, *, create: bool, page_bytes: int = PAGE_BYTES) -> sqlite3.Connection:
    """Open the file at `path` in WAL mode with full synchronisation.

    Raises:
        StoreError: it cannot be opened.
    """
    mode = "rwc" if create else "rw"
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
        )
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot open {path}: {error}.", hint="Check the path and its permissions.") from error
    try:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -16000")
        if create:
            _use_log(connection)
            actual = connection.execute("PRAGMA page_size").fetchone()[0]
            connection.execute(f"PRAGMA wal_autocheckpoint = {max(1, WAL_BYTES // actual)}")
    except sqlite3.Error as error:
        connection.close()
        raise cannot(f"open {path}", error) from error
    return connection


def _use_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode; SQLite itself does not wait for another process that is doing the same."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def version_of(connection: sqlite3.Connection) -> int:
    """Return the layout's version of an open file; 0 for an empty one.

    Raises:
        StoreError: it is a database of something else.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreError("the file is a database, but not one of critic_loop.", hint="Choose another path.")
    return _pragma(connection, "user_version")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an open file to the current version, in one transaction.

    Raises:
        StoreError: a newer version of critic_loop wrote it.
    """
    if require_readable(version_of(connection)) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = require_readable(version_of(connection))
        for script in MIGRATIONS[version:]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def require_readable(version: int) -> int:
    """Return `version` unless it is newer than this code.

    Raises:
        StoreError: it is.
    """
    if version > VERSION:
        raise StoreError(
            f"written by a newer critic_loop (schema {version}); this one reads up to {VERSION}: upgrade"
        )
    return version


_HINTS = {
    "SQLITE_FULL": "Free space, then run again: what was committed is safe.",
    "SQLITE_IOERR": "Check the disk, then run again: what was committed is safe.",
    "SQLITE_READONLY": "Make the file and its folder writable, then run again: what was committed is safe.",
    "SQLITE_BUSY": "Another process keeps the file locked: end it, then run again; what was committed is safe.",
    "SQLITE_NOTADB": "Choose another path: this file is not a store.",
    "SQLITE_CANTOPEN": "Check the path and its permissions.",
    "SQLITE_CORRUPT": "Restore the file from a copy, or save what `sqlite3 FILE .recover` still reads.",
}


def cannot(what: str, error: sqlite3.Error) -> StoreError:
    """Return the typed error for something that SQLite refused, with what to do about it."""
    name = getattr(error, "sqlite_errorname", "")
    hint = next((text for prefix, text in _HINTS.items() if name.startswith(prefix)), "")
    return StoreError(f"cannot {what}: {error}.", hint=hint or "What was committed is safe.")
