"""Writes groups of jobs, each group in one transaction and all in one thread.

Knows tables, the codec and who owns a tree. Does not know event loops (`sqlite`).

The store object that appended to a tree last owns it. A second one that appends takes over the ownership, if
only late feedback was added since it loaded the tree; further appends of the first one fail with a
`WriteConflict`. Late feedback needs no ownership.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from critic_loop.core.errors import StoreError, WriteConflict
from critic_loop.core.records import Ask, Attempt, Head, Outcome, Record
from critic_loop.store import codec, layout, listing
from critic_loop.store.rebuild import LATE, UNSETTLED, blobs_of, check_heads, fields_of, letter_of
from critic_loop.store.texts import RecentTexts, TextTable, no_recent_texts

_MAX_TREES_CACHED = 1024


@dataclass(slots=True, eq=False)
class Job:
    """Records to append to one tree. Without records, a marker in the queue: what came before it is written."""

    tree: str
    records: tuple[Record, ...] = ()
    late: bool = False
    """The record is feedback from outside the run."""
    seen: int | None = None
    """The number of records of the tree when the caller loaded it; None if it did not."""
    awaited: bool = True
    """A caller awaits the job, so that `error` is raised there."""
    error: StoreError | None = None


@dataclass(slots=True, eq=False)
class _TreeState:
    ref: int
    name: str
    next_seq: int
    owner: str
    ours: bool
    """This store object was the owner when it last looked."""
    attempts: int
    unsettled: set[str]
    stop: str | None = None
    changed: bool = False
    epoch: int = 0
    recent: RecentTexts = field(default_factory=no_recent_texts)


@dataclass(slots=True, eq=False)
class _Row:
    """The records of one tree in one transaction."""

    seq: int
    kinds: list[str] = field(default_factory=list[str])
    lines: list[str] = field(default_factory=list[str])


class Writer:
    """The writer of a store object."""

    def __init__(
        self, path: Path, token: str, failed: dict[str, StoreError], *, page_bytes: int = layout.PAGE_BYTES
    ) -> None:
        """Open, create or migrate the file at `path`.

        Args:
            path: the file.
            token: identifies the store object as an owner of trees in the file.
            failed: trees that accept no more records, with the reason; mutated.
            page_bytes: page size of a new file, in bytes.

        Raises:
            StoreError: the file cannot be opened, was written by a newer critic_loop, or is not a store.
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
            listing.describe_trees(self._db)
        except sqlite3.Error as error:
            self._db.close()
            raise layout.sqlite_error(f"open {path}", error) from error
        except StoreError as error:
            self._db.close()
            raise type(error)(f"{path}: {error.message}", hint=error.hint) from error
        self._texts = TextTable(self._db)

    def write(self, jobs: Sequence[Job]) -> StoreError | None:
        """Write all jobs in one transaction, and set `error` of those that are rejected.

        Returns:
            None; or why the file cannot be written: then no job was written, and the writer must not be used
            again.
        """
        if not any(job.records for job in jobs):
            return None
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._detect_other_writers()
            for job in jobs:
                self._add_job(job)
            self._flush()
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            return layout.sqlite_error(f"write {self._path}", error)
        except BaseException:
            self._rollback()
            raise
        return None

    def close(self) -> None:
        """Close the file; the last connection to close copies the WAL into it."""
        with suppress(sqlite3.Error):
            self._db.close()

    # -- one transaction -----------------------------------------------------------------------

    def _detect_other_writers(self) -> None:
        """Invalidate cached state if another connection wrote since the last transaction."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            self._data_version = version
            self._epoch += 1
            self._texts.refresh()

    def _add_job(self, job: Job) -> None:
        """Add the records of one job, or none of them and set its `error`.

        A tree that lacks records is incomplete and accepts no more. Where an awaited job is rejected because
        its tree has a head already, or none, no record is lost and later jobs may succeed.
        """
        if not job.records:
            return
        if job.tree in self._failed and not job.late:
            job.error = self._failed[job.tree]
            return
        incomplete = not job.awaited
        try:
            state = self._state(job.tree)
            check_heads(job.tree, job.records, exists=state is not None)
            incomplete = True
            self._append(job, state)
        except StoreError as error:
            job.error = error
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001  # one invalid record must not stop the other trees
            job.error = StoreError(f"tree {job.tree!r}: a record cannot be written: {error}")
        if job.error is not None and incomplete and not job.late:
            self._failed[job.tree] = job.error

    def _append(self, job: Job, state: _TreeState | None) -> None:
        recent = no_recent_texts() if state is None else state.recent
        if state is not None and not job.late:
            self._take_ownership(state, job.seen)
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
            _update_counts(state, record)

    def _packed(self, job: Job, recent: RecentTexts) -> list[str]:
        """Return the records as lines of packed JSON; raises before anything of the job is queued."""
        self._texts.use_recent(recent)
        lines: list[str] = []
        for record in job.records:
            self._store_blobs(record)
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
        while len(self._trees) > _MAX_TREES_CACHED:
            self._trees.popitem(last=False)

    def _rollback(self) -> None:
        with suppress(sqlite3.Error):
            self._db.execute("ROLLBACK")

    def _store_blobs(self, record: Record) -> None:
        for blob in blobs_of(record):
            if blob.data is None:
                continue
            if hashlib.sha256(blob.data).hexdigest() != blob.sha256:
                raise StoreError(
                    f"the bytes of an image or a file do not have its sha256 ({blob.sha256}).",
                    hint="Build it with Image.of(data, media_type) or File.of(data, media_type).",
                )
            query = "INSERT OR IGNORE INTO blobs (sha256, data) VALUES (?, ?)"
            self._db.execute(query, (blob.sha256, blob.data))

    # -- trees ---------------------------------------------------------------------------------

    def _state(self, tree: str) -> _TreeState | None:
        """Return the state of a tree, updated from the file if another connection wrote; None if it is new."""
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
            "INSERT INTO trees (tree, task, recipe, created_at, owner, title, tags)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (tree, head.task.id, head.recipe, head.created_at, self._token, *listing.title_and_tags(head)),
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

    def _take_ownership(self, state: _TreeState, seen: int | None) -> None:
        """Make this store object the owner of the tree.

        Raises:
            WriteConflict: another store object has written the tree since it was loaded here.
        """
        if state.owner == self._token:
            return
        if state.ours or (seen is not None and self._grew_since(state.ref, seen)):
            state.ours = False
            raise WriteConflict(
                f"tree {state.name!r} is being written by another process.",
                hint="Only one may: end the other process, then run again.",
            )
        query = "SELECT attempts, stop FROM trees WHERE id = ?"
        state.attempts, state.stop = self._db.execute(query, (state.ref,)).fetchone()
        state.unsettled = self._unsettled(state.ref, state.name)
        state.owner, state.ours, state.changed = self._token, True, True

    def _grew_since(self, ref: int, seen: int) -> bool:
        query = "SELECT 1 FROM records WHERE tree = ? AND seq >= ? AND ltrim(kinds, ?) != '' LIMIT 1"
        return self._db.execute(query, (ref, seen, LATE)).fetchone() is not None


def _update_counts(state: _TreeState, record: Record) -> None:
    """Update the tree's row in the listing."""
    match record:
        case Attempt():
            if record.id not in state.unsettled:
                state.attempts += 1
                state.changed = True
            if not record.settled:
                state.unsettled.add(record.id)
        case Ask() if state.stop is not None:  # the tree goes on
            state.stop, state.changed = None, True
        case Outcome():
            state.stop = record.stop
            state.changed = True
        case _:
            pass
