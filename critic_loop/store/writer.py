"""Writes groups of appends, each group in one transaction. Lives in one thread.

Knows tables, the codec and who may write a tree. Does not know event loops (`sqlite`).

Who may write: the store object that appended to a tree last owns it. A second one that appends
takes it over, if nothing but late feedback was added since it loaded the tree; the first then finds
itself fenced off and gets a `StoreError`. Late feedback needs no ownership.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from critic_loop.core.errors import StoreError, WriteConflict
from critic_loop.core.records import Attempt, Head, Outcome, Record
from critic_loop.store import codec, layout
from critic_loop.store.rebuild import LATE, UNSETTLED, blobs_of, check_heads, fields_of, letter_of

_RECENT_TEXTS = 4
_FENCES_DEEP = 16
"""Fences within fences are taken apart so far; a model may write any number of them."""
_ROW_CHARS = 1024
_TREES_AT_HAND = 1024
_HASHES_AT_HAND = 50_000


@dataclass(slots=True, eq=False)
class Job:
    """Records to add to one tree; none: only a place in the queue."""

    tree: str
    records: tuple[Record, ...] = ()
    late: bool = False
    """It is feedback from outside the run."""
    seen: int | None = None
    """How many records of the tree the caller had loaded; None if it did not load it."""
    waited: bool = True
    """Somebody learns of its error."""
    error: StoreError | None = None


def _recent() -> deque[tuple[int, str]]:
    return deque(maxlen=_RECENT_TEXTS)


@dataclass(slots=True, eq=False)
class _TreeState:
    ref: int
    name: str
    next_seq: int
    owner: str
    ours: bool
    """This store object wrote it last, as far as it knew."""
    attempts: int
    unsettled: set[str]
    stop: str | None = None
    changed: bool = False
    epoch: int = 0
    recent: deque[tuple[int, str]] = field(default_factory=_recent)


@dataclass(slots=True, eq=False)
class _Row:
    """Records of one tree that are written at once."""

    seq: int
    kinds: list[str] = field(default_factory=list[str])
    lines: list[str] = field(default_factory=list[str])


class Writer:
    """The one writer of a store object."""

    def __init__(
        self, path: Path, token: str, failed: dict[str, StoreError], *, page_bytes: int = layout.PAGE_BYTES
    ) -> None:
        """Open the file at `path`, create or migrate it.

        Args:
            path: the file.
            token: what the store object that this is the writer of is called in the file.
            failed: trees that take no more records, for the reason given; added to here.
            page_bytes: size of a page of a new file.

        Raises:
            StoreError: it cannot be opened, is newer, or is something else.
        """
        self._path = path
        self._failed = failed
        self._token = token
        self._trees: OrderedDict[str, _TreeState] = OrderedDict()
        self._epoch = 0
        self._data_version = -1
        self._rows: dict[int, _Row] = {}
        self._db = layout.connect(path, create=True, page_bytes=page_bytes)
        try:
            layout.migrate(self._db)
        except sqlite3.Error as error:
            self._db.close()
            raise layout.cannot(f"open {path}", error) from error
        except StoreError as error:
            self._db.close()
            raise type(error)(f"{path}: {error.message}", hint=error.hint) from error
        self._texts = _Texts(self._db)

    def write(self, jobs: Sequence[Job]) -> StoreError | None:
        """Write all jobs in one transaction; what is wrong with one of them is left in its `error`.

        Returns what keeps the file from being written at all; then none of the jobs was, and this writer
        is of no more use.
        """
        if not any(job.records for job in jobs):
            return None
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._look_around()
            for job in jobs:
                self._one(job)
            self._flush()
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            return layout.cannot(f"write {self._path}", error)
        except BaseException:
            self._undo()
            raise
        return None

    def close(self) -> None:
        """Close the file; the last one to do so folds the log into it."""
        with suppress(sqlite3.Error):
            self._db.close()

    # -- one transaction -----------------------------------------------------------------------

    def _look_around(self) -> None:
        """Notice whether another connection wrote since the last transaction."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            self._data_version = version
            self._epoch += 1
            self._texts.refresh()

    def _one(self, job: Job) -> None:
        """Add the records of one job, or none of them, and leave in it what was wrong.

        A tree of which records went missing would be torn, so it takes no more after that; one whose
        caller hears at once that it has a head already, or none, goes on.
        """
        if not job.records:
            return
        if job.tree in self._failed and not job.late:
            job.error = self._failed[job.tree]
            return
        torn = not job.waited
        try:
            state = self._state(job.tree)
            check_heads(job.tree, job.records, exists=state is not None)
            torn = True
            self._append(job, state)
        except StoreError as error:
            job.error = error
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001  # one strange record must not stop the other trees
            job.error = StoreError(f"tree {job.tree!r}: a record cannot be written: {error}")
        if job.error is not None and torn and not job.late:
            self._failed[job.tree] = job.error

    def _append(self, job: Job, state: _TreeState | None) -> None:
        recent = _recent() if state is None else state.recent
        if state is not None and not job.late:
            self._claim(state, job.seen)
        lines = self._packed(job, recent)
        if state is None:
            state = self._begin(job.tree, cast("Head", job.records[0]))  # as `check_heads` made sure
            state.recent = recent
        row = self._rows.get(state.ref)
        if row is None:
            row = self._rows[state.ref] = _Row(state.next_seq)
        row.lines += lines
        row.kinds += [letter_of(record, late=job.late) for record in job.records]
        state.next_seq += len(lines)
        for record in job.records:
            _tally(state, record)

    def _packed(self, job: Job, recent: deque[tuple[int, str]]) -> list[str]:
        """Return the records as lines, before anything of them is queued: all of a job or nothing."""
        self._texts.tree(recent)
        lines: list[str] = []
        for record in job.records:
            self._keep_bytes(record)
            lines.append(codec.dumps(fields_of(record), job.tree, self._texts.put))
        return lines

    def _flush(self) -> None:
        self._texts.flush()
        rows = [(ref, row.seq, "".join(row.kinds), "\n".join(row.lines)) for ref, row in self._rows.items()]
        self._db.executemany("INSERT INTO records (tree, seq, kinds, body) VALUES (?, ?, ?, ?)", rows)
        self._rows.clear()
        changed = [s for s in self._trees.values() if s.changed]
        self._db.executemany(
            "UPDATE trees SET attempts = ?, stop = ?, owner = ? WHERE id = ?",
            [(s.attempts, s.stop, s.owner, s.ref) for s in changed],
        )
        for state in changed:
            state.changed = False
        while len(self._trees) > _TREES_AT_HAND:
            self._trees.popitem(last=False)

    def _undo(self) -> None:
        with suppress(sqlite3.Error):
            self._db.execute("ROLLBACK")

    def _keep_bytes(self, record: Record) -> None:
        for blob in blobs_of(record):
            if blob.data is None:
                continue
            if hashlib.sha256(blob.data).hexdigest() != blob.sha256:
                raise StoreError(f"bytes of a part have another SHA-256 than it says ({blob.sha256})")
            query = "INSERT OR IGNORE INTO blobs (sha256, data) VALUES (?, ?)"
            self._db.execute(query, (blob.sha256, blob.data))

    # -- trees ---------------------------------------------------------------------------------

    def _state(self, tree: str) -> _TreeState | None:
        """Return what is known of a tree, checked against the file if another connection wrote."""
        state = self._trees.get(tree)
        if state is None:
            state = self._read_state(tree)
            if state is None:
                return None
            self._trees[tree] = state
        elif state.epoch != self._epoch:
            (state.owner,) = self._db.execute("SELECT owner FROM trees WHERE id = ?", (state.ref,)).fetchone()
            state.next_seq = self._next_seq(state.ref)
        state.epoch = self._epoch
        self._trees.move_to_end(tree)
        return state

    def _read_state(self, tree: str) -> _TreeState | None:
        row = self._db.execute("SELECT id, owner, attempts, stop FROM trees WHERE tree = ?", (tree,)).fetchone()
        if row is None:
            return None
        ref, owner, attempts, stop = row
        return _TreeState(
            ref=ref,
            name=tree,
            next_seq=self._next_seq(ref),
            owner=owner,
            ours=owner == self._token,
            attempts=attempts,
            unsettled=self._unsettled(ref, tree),
            stop=stop,
        )

    def _next_seq(self, ref: int) -> int:
        query = "SELECT seq + length(kinds) FROM records WHERE tree = ? ORDER BY seq DESC LIMIT 1"
        return self._db.execute(query, (ref,)).fetchone()[0]

    def _unsettled(self, ref: int, tree: str) -> set[str]:
        query = "SELECT kinds, body FROM records WHERE tree = ? AND instr(kinds, ?)"
        return {
            codec.loads(line, tree, lambda _: "")["id"]
            for kinds, body in self._db.execute(query, (ref, UNSETTLED))
            for kind, line in zip(kinds, body.split("\n"), strict=True)
            if kind == UNSETTLED
        }

    def _begin(self, tree: str, head: Head) -> _TreeState:
        cursor = self._db.execute(
            "INSERT INTO trees (tree, task, recipe, created_at, owner) VALUES (?, ?, ?, ?, ?)",
            (tree, head.task.id, head.recipe, head.created_at, self._token),
        )
        ref = cursor.lastrowid
        state = self._trees[tree] = _TreeState(
            ref=ref or 0,
            name=tree,
            next_seq=0,
            owner=self._token,
            ours=True,
            attempts=0,
            unsettled=set(),
            epoch=self._epoch,
        )
        return state

    def _claim(self, state: _TreeState, seen: int | None) -> None:
        """Make the tree ours, unless somebody else goes on writing it.

        Raises:
            WriteConflict: another process does.
        """
        if state.owner == self._token:
            return
        if state.ours or (seen is not None and self._grew(state.ref, seen)):
            state.ours = False
            raise WriteConflict(
                f"tree {state.name!r} is being written by another process.",
                hint="Let only one run it; to go on here, end the other and run again.",
            )
        query = "SELECT attempts, stop FROM trees WHERE id = ?"
        state.attempts, state.stop = self._db.execute(query, (state.ref,)).fetchone()
        state.unsettled = self._unsettled(state.ref, state.name)
        state.owner, state.ours, state.changed = self._token, True, True

    def _grew(self, ref: int, seen: int) -> bool:
        query = "SELECT 1 FROM records WHERE tree = ? AND seq >= ? AND ltrim(kinds, ?) != '' LIMIT 1"
        return self._db.execute(query, (ref, seen, LATE)).fetchone() is not None


def _tally(state: _TreeState, record: Record) -> None:
    """Keep the line about the tree current."""
    match record:
        case Attempt():
            if record.id not in state.unsettled:
                state.attempts += 1
                state.changed = True
            if not record.settled:
                state.unsettled.add(record.id)
        case Outcome():
            state.stop = record.stop
            state.changed = True
        case _:
            pass


class _Texts:
    """Gives each long text a number, the same one for the same text."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._next = 1
        self._depth = 0
        self._numbers: dict[bytes, int] = {}
        self._recent = _recent()
        self._rows: list[tuple[int, int, int, str]] = []
        self._hashes: list[tuple[bytes, int]] = []

    def refresh(self) -> None:
        """Notice what another connection added."""
        (self._next,) = self._db.execute("SELECT coalesce(max(id), 0) + 1 FROM texts").fetchone()

    def tree(self, recent: deque[tuple[int, str]]) -> None:
        """Say which texts of the tree being written came last: parts of them need not be stored again."""
        self._recent = recent

    def put(self, text: str) -> int:
        """Return the number of `text`, which is stored with the next flush if it is new."""
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        number = self._numbers.get(digest) or self._look_up(digest)
        if number is not None:
            return number
        number = self._numbers[digest] = self._new(text, digest)
        return number

    def _new(self, text: str, digest: bytes) -> int:
        self._depth += 1
        pieces = codec.split(text, self.put) if self._depth < _FENCES_DEEP else None
        self._depth -= 1
        if pieces is not None:  # small, and seldom met again by another process: not worth a hash
            return self._store(1, pieces)
        cut = self._cut(text)
        number = self._store(0, text) if cut is None else self._store(1, cut)
        self._hashes.append((digest, number))
        if cut is None:
            self._recent.append((number, text))
        return number

    def _store(self, made: int, body: str) -> int:
        """Queue rows that together hold `body`; return the first one's number."""
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
        """Return where `text` stands in one of the last texts; None if it does not."""
        for number, source in self._recent:
            found = codec.slice_of(text, number, source)
            if found is not None:
                return codec.slice_body(found)
        return None

    def flush(self) -> None:
        """Store what is new."""
        self._db.executemany("INSERT INTO texts VALUES (?, ?, ?, ?)", self._rows)
        self._hashes.sort()
        self._db.executemany("INSERT INTO hashes VALUES (?, ?)", self._hashes)
        self._rows.clear()
        self._hashes.clear()
        if len(self._numbers) > _HASHES_AT_HAND:
            self._numbers.clear()
