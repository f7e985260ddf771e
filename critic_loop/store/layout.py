"""The tables of a SQLite store, and the migration of older files.

Knows SQL. Does not know records. New rows are added at the end of every table except `hashes`.

    trees     one row per tree, for listings; `owner` is the token of the store object that may write it; `tags`
              is a JSON array; `title` and `tags` are NULL until `listing` fills them
    records   the records in order of arrival. A row holds those of one tree from one transaction: `kinds`
              has a letter per record, `body` a line of packed JSON per record (see `codec`), and `seq` is
              the index of the first of them in its tree
    texts     long texts, each once; `made` = 1: `body` is JSON that refers to other texts (`codec.join`);
              `more`: the number of following rows that continue `body` (short rows fill pages well)
    hashes    the id of the text that has this BLAKE2b hash
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
V2 = """
ALTER TABLE trees ADD COLUMN title TEXT;
ALTER TABLE trees ADD COLUMN tags TEXT;
CREATE INDEX trees_of_task ON trees (task);
"""

MIGRATIONS = (V1, V2)
"""Script n migrates a file from version n to n + 1. Append only."""

VERSION = len(MIGRATIONS)
APPLICATION_ID = 0x43726C70
"""Marks a SQLite file as a store ('Crlp'); its version is in `user_version`."""
PAGE_BYTES = 32_768
"""Texts of a few thousand characters fill large pages well and small ones badly."""
WAL_BYTES = 16_000_000
BUSY_TIMEOUT_S = 30.0


def connect(path: Path, *, create: bool, page_bytes: int = PAGE_BYTES) -> sqlite3.Connection:
    """Open the file at `path` in WAL mode with full synchronisation.

    Args:
        path: the file.
        create: create the file and its folder where they are missing.
        page_bytes: page size of a new file, in bytes.

    Raises:
        StoreError: the file cannot be opened.
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
            _enable_wal(connection)
            actual = connection.execute("PRAGMA page_size").fetchone()[0]
            connection.execute(f"PRAGMA wal_autocheckpoint = {max(1, WAL_BYTES // actual)}")
    except sqlite3.Error as error:
        connection.close()
        raise sqlite_error(f"open {path}", error) from error
    return connection


def _enable_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode; retry while another process does the same, as SQLite's own timeout does not apply."""
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
    """Return the schema version of an open file; 0 for an empty one.

    Raises:
        StoreError: the file is a SQLite database of another program.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreError(
            "the file is a SQLite database, but not a store of critic_loop.", hint="Choose another path."
        )
    return _pragma(connection, "user_version")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Migrate an open file to the current version, in one transaction.

    Raises:
        StoreError: a newer version of critic_loop wrote the file.
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
    """Return `version`.

    Raises:
        StoreError: it is newer than `VERSION`.
    """
    if version > VERSION:
        raise StoreError(
            f"the file was written by a newer critic_loop (schema {version}); this one reads up to {VERSION}.",
            hint="Upgrade critic_loop.",
        )
    return version


_HINTS = {
    "SQLITE_FULL": "Free disk space, then run again. Committed records are safe.",
    "SQLITE_IOERR": "Check the disk, then run again. Committed records are safe.",
    "SQLITE_READONLY": "Make the file and its folder writable, then run again. Committed records are safe.",
    "SQLITE_BUSY": "Another process has locked the file: end it, then run again. Committed records are safe.",
    "SQLITE_NOTADB": "Choose another path: this file is not a store.",
    "SQLITE_CANTOPEN": "Check the path and its permissions.",
    "SQLITE_CORRUPT": "Restore the file from a backup, or save what `sqlite3 FILE .recover` can read.",
}


def sqlite_error(action: str, error: sqlite3.Error) -> StoreError:
    """Return the `StoreError` for an `action` that failed in SQLite, such as `open x.db`, with a hint."""
    name = getattr(error, "sqlite_errorname", "")
    hint = next((text for prefix, text in _HINTS.items() if name.startswith(prefix)), "")
    return StoreError(f"cannot {action}: {error}.", hint=hint or "Committed records are safe.")
