"""Stores long texts once, by content, and gives each a number.

Knows the tables `texts` and `hashes`, and the codec. Does not know records. A text is stored whole, as pieces
(data in fences and the text between), or as a slice of a text stored shortly before.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import deque
from typing import TypeAlias

from critic_loop.core.errors import StoreError
from critic_loop.store import codec

_MAX_RECENT_TEXTS = 4
_MAX_FENCE_DEPTH = 16
"""Fences nested deeper are not split; a model may nest any number of them."""
_ROW_CHARS = 1024
_MAX_HASHES_CACHED = 50_000

RecentTexts: TypeAlias = deque[tuple[int, str]]
"""The last texts that were stored for a tree, with their numbers."""


def no_recent_texts() -> RecentTexts:
    """Return an empty queue of bounded length."""
    return deque(maxlen=_MAX_RECENT_TEXTS)


class TextTable:
    """Numbers for long texts: equal texts have the same number."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Write to `db`."""
        self._db = db
        self._next = 1
        self._depth = 0
        self._numbers: dict[bytes, int] = {}
        self._recent = no_recent_texts()
        self._rows: list[tuple[int, int, int, str]] = []
        self._hashes: list[tuple[bytes, int]] = []

    def refresh(self) -> None:
        """Continue after the texts that another connection added."""
        (self._next,) = self._db.execute("SELECT coalesce(max(id), 0) + 1 FROM texts").fetchone()

    def use_recent(self, recent: RecentTexts) -> None:
        """Set the recent texts of the tree being written: a part of one of them is stored as a slice."""
        self._recent = recent

    def put(self, text: str) -> int:
        """Return the number of `text`; a new one is stored by the next `flush`."""
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        number = self._numbers.get(digest) or self._look_up(digest)
        if number is not None:
            return number
        number = self._numbers[digest] = self._new(text, digest)
        return number

    def _new(self, text: str, digest: bytes) -> int:
        self._depth += 1
        pieces = codec.split(text, self.put) if self._depth < _MAX_FENCE_DEPTH else None
        self._depth -= 1
        if pieces is not None:  # small, and rarely written again by another process: needs no hash
            return self._store(1, pieces)
        cut = self._cut(text)
        number = self._store(0, text) if cut is None else self._store(1, cut)
        self._hashes.append((digest, number))
        if cut is None:
            self._recent.append((number, text))
        return number

    def _store(self, made: int, body: str) -> int:
        """Queue the rows that hold `body`; return the number of the first."""
        number = self._next
        more = (len(body) - 1) // _ROW_CHARS
        self._rows.append((number, made, more, body[:_ROW_CHARS]))
        for n in range(1, more + 1):
            self._rows.append((number + n, made, 0, body[n * _ROW_CHARS : (n + 1) * _ROW_CHARS]))
        self._next += 1 + more
        return number

    def _look_up(self, digest: bytes) -> int | None:
        row = self._db.execute("SELECT text FROM hashes WHERE hash = ?", (digest,)).fetchone()
        if row is None:
            return None
        self._numbers[digest] = row[0]
        return row[0]

    def _cut(self, text: str) -> str | None:
        """Return `text` as a slice of a recent text, as JSON; None if none contains it."""
        for number, source in self._recent:
            found = codec.slice_of(text, number, source)
            if found is not None:
                return codec.slice_body(found)
        return None

    def flush(self) -> None:
        """Insert the queued rows."""
        self._db.executemany("INSERT INTO texts VALUES (?, ?, ?, ?)", self._rows)
        self._hashes.sort()
        self._db.executemany("INSERT INTO hashes VALUES (?, ?)", self._hashes)
        self._rows.clear()
        self._hashes.clear()
        if len(self._numbers) > _MAX_HASHES_CACHED:
            self._numbers.clear()


class StoredTexts:
    """Texts and blobs of one snapshot; each is read once."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Read from `db`."""
        self._db = db
        self._texts: dict[int, str] = {}

    def get(self, number: int) -> str:
        """Return a text.

        Raises:
            StoreError: it is missing.
        """
        text = self._texts.get(number)
        if text is None:
            made, body = self._row(number)
            text = self._texts[number] = codec.join(body, self.get) if made else body
        return text

    def _row(self, number: int) -> tuple[int, str]:
        row = self._db.execute("SELECT made, more, body FROM texts WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise StoreError(
                f"text {number} is missing: the file is damaged.", hint="Restore the file from a backup."
            )
        made, more, body = row
        if more:
            query = "SELECT body FROM texts WHERE id > ? AND id <= ? ORDER BY id"
            body += "".join(rest for (rest,) in self._db.execute(query, (number, number + more)))
        return made, body

    def blob(self, sha256: str) -> bytes | None:
        """Return the bytes of an image or a file; None if they are not stored."""
        row = self._db.execute("SELECT data FROM blobs WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else row[0]
